// agent/completion_request.h - the bodies of POST /v1/completions and /v1/chat/completions: OpenAI's members, and
// llama-server's where they say more.
#pragma once

#include "agent/members.h"
#include "agent/models.h"
#include "agent/tool_calls.h"

namespace dgq::agent {

struct CompletionRequest {
  Generation generation;
  std::vector<std::string> stop;
  bool stream = false, include_usage = false;  // include_usage: of a stream
  bool chat = false;                           // decides the form of the answer
  CallForm calls = CallForm::none;             // of a chat: what an answer may be beside a text
  std::vector<std::string> functions = {};     // that it may call
};

// Every member that would change the answer is read or refused by name (docs/AGENT.md has the table). Encodes the
// prompt. text: what `body` was parsed from.
std::optional<ApiError> read_completion(const Json& body, std::string_view text, const ServedModel& model,
                                        CompletionRequest& request);
std::optional<ApiError> read_chat(const Json& body, std::string_view text, const ServedModel& model,
                                  CompletionRequest& request);

// What both have in common; the prompt, logprobs and more_eos are read before.
struct CompletionDefaults {
  std::int64_t max_tokens;             // -1: until the context is full
  std::vector<const char*> max_names;  // of it, in the order of what is asked first
  const char* prompt;                  // the member that an unfit prompt is about
};
std::optional<ApiError> read_the_rest(Members& members, std::string_view text, const ServedModel& model,
                                      const CompletionDefaults& defaults, CompletionRequest& request);

// With Error::what as the message: invalid is the client's mistake (400), busy means later (429, or 503 for
// good).
ApiError api_error(const Error& error);

inline constexpr std::int64_t kMostLogprobs = 20;

}  // namespace dgq::agent
