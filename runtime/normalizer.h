// runtime/normalizer.h - what a tokenizer does to text before it splits it.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "runtime/pretokenizer_regex.h"

namespace dgq {

enum class UnicodeForm { nfc, nfd, nfkc, nfkd };  // Unicode Standard Annex 15
struct PrependStep {
  std::string prefix;
};  // before non-empty text
struct ReplaceStep {
  Pattern pattern;
  std::string content;
};  // every match
using NormalizerStep = std::variant<UnicodeForm, PrependStep, ReplaceStep>;

// `text` with every match of the pattern replaced.
Result<std::string> replace_all(const ReplaceStep& step, std::string_view text);

// The steps in order. text: well-formed UTF-8; so is the result. Errors: unsupported (a pattern gave up).
Result<std::string> normalize(const std::vector<NormalizerStep>& steps, std::string_view text);

}  // namespace dgq
