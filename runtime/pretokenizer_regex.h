// runtime/pretokenizer_regex.h - the patterns of a tokenizer.json: regular expressions and plain strings.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace dgq {

struct TextRange {
  std::size_t begin, end;  // bytes
  bool operator==(const TextRange&) const = default;
};

// A tokenizer.json is written for Oniguruma (Ruby syntax); PCRE2 runs it. Constructs that both read the same way, or that
// can be rewritten so (\s, \d, \uHHHH, {,n}), pass; all others are refused by name rather than run with another meaning.
// Immutable and thread-safe.
class Pattern {
 public:
  // Errors start with `where`: unsupported (a construct), corrupt (not a regular expression).
  static Result<Pattern> regex(std::string_view expression, std::string_view where);
  static Result<Pattern> literal(std::string_view text, std::string_view where);  // corrupt: empty

  // Appends all matches in `subject` (well-formed UTF-8) from left to right, without overlap; an empty match directly
  // after a match is passed over. unsupported: backtracking beyond a budget in proportion to the subject's length, so a
  // hostile pattern fails instead of hanging.
  Result<void> find_all(std::string_view subject, std::vector<TextRange>& matches) const;

 private:
  struct Compiled;
  std::shared_ptr<const Compiled> compiled_;  // null: literal
  std::string text_;                          // of the literal; for messages, of the expression
};

// Rewrites Oniguruma syntax to PCRE2's; exposed for its test.
Result<std::string> translate_regex(std::string_view expression, std::string_view where);

}  // namespace dgq
