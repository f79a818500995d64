// runtime/jinja.h - chat templates: the part of Jinja 3.1 that the templates of language models use, with the results of
// Python's Jinja2 as Hugging Face sets it up (trim_blocks, lstrip_blocks, loop controls, a tojson that escapes nothing,
// values that a template cannot change). docs/AGENT.md lists what there is; anything else is refused by name and line.
//
// A rendered text knows of every byte whether it stands in the template or came in with the variables: what a message
// says is never taken for one of the control tokens that the template writes around it (Tokenizer::encode_marked).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace dgq {

inline constexpr std::size_t kMaxTemplateBytes = 1u << 20;

struct JinjaLimits {
  std::size_t steps = 2'000'000;         // expressions and statements evaluated, and elements made
  std::size_t bytes = 64u << 20;         // of all texts made on the way
  std::size_t depth = 64;                // of macros that call each other
  std::size_t output_bytes = 16u << 20;  // of the result
};

struct RenderedText {
  std::string text;
  std::string from_data;  // as long as text: 1 for each byte that came in with the variables, else 0
};

// Immutable; every member is thread-safe. Movable.
class JinjaTemplate {
 public:
  // Errors start with "line N: ". unsupported: something that is not covered, by name; invalid: not a template.
  static Result<JinjaTemplate> parse(std::string_view text);
  JinjaTemplate(JinjaTemplate&&) noexcept;
  JinjaTemplate& operator=(JinjaTemplate&&) noexcept;
  ~JinjaTemplate();

  // data: an object of variables whose texts count as data; own: one whose texts count as the template's (bos_token).
  // now_unix_s: what strftime_now() says, in UTC. invalid: the template raised an exception, or broke on these
  // variables; unsupported: it came upon something that is not covered, or went over a limit.
  Result<RenderedText> render(const OrderedJson& data, const OrderedJson& own, std::int64_t now_unix_s,
                              const JinjaLimits& limits = {}) const;

 private:
  struct State;
  explicit JinjaTemplate(std::unique_ptr<const State> state);
  std::unique_ptr<const State> state_;
};

}  // namespace dgq
