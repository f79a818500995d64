// agent/completion_request.h - the body of POST /v1/completions: OpenAI's members, and llama-server's where
// they say more.
#pragma once

#include "agent/members.h"
#include "agent/models.h"

namespace dgq::agent {

struct CompletionRequest {
  Generation generation;
  std::vector<std::string> stop;
  bool stream = false, include_usage = false;  // include_usage: of a stream
};

// Every member that would change the answer is read or refused by name (docs/AGENT.md has the table). Encodes
// the prompt.
std::optional<ApiError> read_completion(const Json& body, const ServedModel& model,
                                        CompletionRequest& request);

// With Error::what as the message: invalid is the client's mistake (400), busy means later (429, or 503 for
// good).
ApiError api_error(const Error& error);

}  // namespace dgq::agent
