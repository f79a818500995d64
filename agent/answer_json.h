// agent/answer_json.h - parts of an answer as OpenAI's clients read them: of a completion, and of a chat.
#pragma once

#include <span>
#include <string>

#include "agent/engine.h"
#include "base/json.h"
#include "runtime/tokenizer.h"

namespace dgq::agent {

struct Logprob {
  GeneratedToken token;
  std::size_t offset;  // characters of the answer before it
};

// "choices[0].logprobs"
Json completion_logprobs(const Tokenizer& tokenizer, std::span<const Logprob> logprobs);
Json chat_logprobs(const Tokenizer& tokenizer, std::span<const Logprob> logprobs);

// The members of "choices[0]" that hold the text: of a completion, and of a whole chat answer.
Json completion_choice(const std::string& text);
Json chat_choice(const std::string& text, Json tool_calls);  // tool_calls: OpenAI's list

}  // namespace dgq::agent
