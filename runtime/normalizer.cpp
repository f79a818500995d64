#include "runtime/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

namespace dgq {
namespace {

Result<std::string> apply(UnicodeForm form, std::string text) {
  // Every code point below U+0300 (bytes CC 80) is in NFC and combines with nothing below it: most text stops here.
  if (form == UnicodeForm::nfc &&
      std::none_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) >= 0xCC; }))
    return text;
  int options = UTF8PROC_STABLE;
  options |= form == UnicodeForm::nfc || form == UnicodeForm::nfkc ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
  if (form == UnicodeForm::nfkc || form == UnicodeForm::nfkd) options |= UTF8PROC_COMPAT;
  utf8proc_uint8_t* out = nullptr;
  const auto bytes =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &out, static_cast<utf8proc_option_t>(options));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(out, std::free);
  if (bytes < 0)
    return Error{Errc::invalid, std::string("cannot normalize the text: ") + utf8proc_errmsg(bytes)};
  return std::string(reinterpret_cast<const char*>(out), static_cast<std::size_t>(bytes));
}

Result<std::string> apply(const PrependStep& step, std::string text) {
  return text.empty() ? text : step.prefix + text;
}
Result<std::string> apply(const ReplaceStep& step, std::string text) { return replace_all(step, text); }

}  // namespace

Result<std::string> replace_all(const ReplaceStep& step, std::string_view text) {
  std::vector<TextRange> matches;
  DGQ_CHECK(step.pattern.find_all(text, matches));
  std::string out;
  std::size_t done = 0;
  for (const TextRange& match : matches) {
    out.append(text.substr(done, match.begin - done)).append(step.content);
    done = match.end;
  }
  out.append(text.substr(done));
  return out;
}

Result<std::string> normalize(const std::vector<NormalizerStep>& steps, std::string_view text) {
  std::string out(text);
  for (const NormalizerStep& step : steps) {
    DGQ_TRY(out, std::visit([&](const auto& chosen) { return apply(chosen, std::move(out)); }, step));
  }
  return out;
}

}  // namespace dgq
