#include "agent/answer_json.h"

namespace dgq::agent {
namespace {

std::string text_of(const Tokenizer& tokenizer, std::int32_t id) {
  const auto text = tokenizer.decode(std::span(&id, 1), false);
  return text ? *text : "";
}

// With its bytes, which may be a part of a character only.
Json chat_token(const Tokenizer& tokenizer, std::int32_t id, double logprob) {
  const std::string text = text_of(tokenizer, id);
  const auto bytes = bytes_of_token(tokenizer.decode_steps(), tokenizer.token(id));
  Json list = Json::array();
  for (const char byte : bytes ? *bytes : text) list.push_back(static_cast<unsigned char>(byte));
  return {{"token", text}, {"logprob", logprob}, {"bytes", std::move(list)}};
}

}  // namespace

Json completion_logprobs(const Tokenizer& tokenizer, std::span<const Logprob> logprobs) {
  Json all = {{"tokens", Json::array()},
              {"token_logprobs", Json::array()},
              {"top_logprobs", Json::array()},
              {"text_offset", Json::array()}};
  for (const auto& [token, offset] : logprobs) {
    Json top = Json::object();
    for (const TokenProbability& other : token.top) top[text_of(tokenizer, other.id)] = other.logprob;
    all["tokens"].push_back(text_of(tokenizer, token.id));
    all["token_logprobs"].push_back(token.logprob);
    all["top_logprobs"].push_back(std::move(top));
    all["text_offset"].push_back(offset);
  }
  return all;
}

Json chat_logprobs(const Tokenizer& tokenizer, std::span<const Logprob> logprobs) {
  Json content = Json::array();
  for (const auto& [token, offset] : logprobs) {
    Json one = chat_token(tokenizer, token.id, token.logprob);
    one["top_logprobs"] = Json::array();
    for (const TokenProbability& other : token.top)
      one["top_logprobs"].push_back(chat_token(tokenizer, other.id, other.logprob));
    content.push_back(std::move(one));
  }
  return {{"content", std::move(content)}, {"refusal", nullptr}};
}

Json completion_choice(const std::string& text) { return {{"text", text}}; }
Json chat_choice(const std::string& text, Json tool_calls) {
  Json message = {{"role", "assistant"}, {"content", text}, {"refusal", nullptr}};
  if (!tool_calls.empty()) {
    if (text.empty()) message["content"] = nullptr;
    message["tool_calls"] = std::move(tool_calls);
  }
  return {{"message", std::move(message)}};
}

}  // namespace dgq::agent
