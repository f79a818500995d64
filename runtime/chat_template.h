// runtime/chat_template.h - the chat template that a version stores, and messages through it into tokens.
#pragma once

#include <string>
#include <string_view>

#include "runtime/jinja.h"
#include "runtime/tokenizer.h"

namespace dgq {

inline constexpr const char* kChatTemplateBlob = "chat_template";  // its name in a manifest
inline constexpr const char* kChatTemplateMedia =
    "chat_template.json";  // {"bos_token", "chat_template", "eos_token"}

// The checkpoint's template and the texts that it calls bos_token and eos_token; empty: there is no such token.
struct ChatTemplateSource {
  std::string text, bos, eos;

  std::string blob() const;  // canonical: equal ones are equal bytes
  static Result<ChatTemplateSource> parse(std::string_view blob, std::string_view where);
};

// Immutable; thread-safe.
class ChatTemplate {
 public:
  // Errors of JinjaTemplate::parse, after "the chat template, ".
  static Result<ChatTemplate> make(ChatTemplateSource source);

  const ChatTemplateSource& source() const { return source_; }

  // The prompt. variables: `messages` and what else the template is given; add_generation_prompt among them. What
  // stands in them never becomes a control token, whatever it spells. invalid: the template refuses the messages.
  Result<std::vector<std::int32_t>> encode(const OrderedJson& variables, const Tokenizer& tokenizer,
                                           std::int64_t now_unix_s) const;

 private:
  ChatTemplate(ChatTemplateSource source, JinjaTemplate parsed)
      : source_(std::move(source)), template_(std::move(parsed)) {}
  ChatTemplateSource source_;
  JinjaTemplate template_;
};

}  // namespace dgq
