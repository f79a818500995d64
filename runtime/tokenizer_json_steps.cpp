#include <algorithm>

#include "runtime/tokenizer_json.h"
#include "runtime/tokenizer_utf8.h"

namespace dgq::tokenizer_json {
namespace {

constexpr std::int64_t kMaxStrip = 1 << 20;
constexpr std::size_t kMaxSteps = 256;  // more is no tokenizer, but a file that wants to take our time

// {"type": "Sequence", <key>: [...]}: calls parse for each element; otherwise for the object itself, with its type.
template <class Parse>
Result<void> for_each_in_sequence(const Json& value, const char* key, std::string_view where,
                                  const Parse& parse) {
  DGQ_TRY(const std::string type, json_string(value, "type", where));
  if (type != "Sequence") return parse(value, type);
  const Json* list = find_member(value, key);
  if (!list || !list->is_array())
    return corrupt(where, "a Sequence without its array \"" + std::string(key) + "\"");
  if (list->size() > kMaxSteps)
    return corrupt(where, "a Sequence of " + std::to_string(list->size()) + " steps");
  for (const Json& element : *list) DGQ_CHECK(for_each_in_sequence(element, key, where, parse));
  return {};
}

// {"String": "..."} or {"Regex": "..."}.
Result<Pattern> parse_pattern(const Json& object, std::string_view where) {
  const Json* pattern = find_member(object, "pattern");
  if (!pattern) return corrupt(where, "a step without \"pattern\"");
  if (find_member(*pattern, "String")) {
    DGQ_TRY(const std::string text, json_string(*pattern, "String", where));
    return Pattern::literal(text, where);
  }
  DGQ_TRY(const std::string expression, json_string(*pattern, "Regex", where));
  return Pattern::regex(expression, where);
}

Result<ReplaceStep> parse_replace(const Json& object, std::string_view where) {
  DGQ_TRY(Pattern pattern, parse_pattern(object, where));
  DGQ_TRY(std::string content, json_string(object, "content", where));
  return ReplaceStep{std::move(pattern), std::move(content)};
}

Result<SplitStep> parse_split(const Json& object, std::string_view where) {
  static constexpr std::pair<const char*, SplitBehavior> kBehaviors[] = {
      {"Removed", SplitBehavior::removed},
      {"Isolated", SplitBehavior::isolated},
      {"MergedWithPrevious", SplitBehavior::merged_with_previous},
      {"MergedWithNext", SplitBehavior::merged_with_next},
      {"Contiguous", SplitBehavior::contiguous}};
  DGQ_TRY(Pattern pattern, parse_pattern(object, where));
  DGQ_TRY(const bool invert, json_bool_or(object, "invert", false, where));
  DGQ_TRY(const std::string name, json_string(object, "behavior", where));
  for (const auto& [known, behavior] : kBehaviors)
    if (name == known) return SplitStep{std::move(pattern), behavior, invert};
  return unsupported(where, "Split behavior " + in_quotes(name));
}

// The replacement and whether it stands before words: "prepend_scheme", in older files "add_prefix_space".
struct Metaspace {
  std::string replacement;
  enum Scheme { never, first, always } scheme;
};
Result<Metaspace> parse_metaspace(const Json& object, std::string_view where) {
  DGQ_TRY(const std::string replacement, json_string(object, "replacement", where));
  if (replacement.empty() || utf8_length(replacement) != replacement.size())
    return corrupt(where, "the replacement of Metaspace is not one character");
  DGQ_TRY(const bool prefix, json_bool_or(object, "add_prefix_space", true, where));
  DGQ_TRY(const std::string scheme,
          json_string_or(object, "prepend_scheme", prefix ? "always" : "never", where));
  if (scheme == "always") return Metaspace{replacement, Metaspace::always};
  if (scheme == "first") return Metaspace{replacement, Metaspace::first};
  if (scheme == "never") return Metaspace{replacement, Metaspace::never};
  return unsupported(where, "Metaspace prepend_scheme " + in_quotes(scheme));
}

Result<void> add_metaspace(const Json& object, std::string_view where, std::vector<PretokenizerStep>& steps) {
  DGQ_TRY(const Metaspace metaspace, parse_metaspace(object, where));
  DGQ_TRY(const bool split, json_bool_or(object, "split", true, where));
  DGQ_TRY(Pattern space, Pattern::literal(" ", where));
  steps.push_back(ReplaceStep{std::move(space), metaspace.replacement});
  if (metaspace.scheme != Metaspace::never)
    steps.push_back(PrefixStep{metaspace.replacement, metaspace.scheme == Metaspace::first});
  if (split) {
    DGQ_TRY(Pattern mark, Pattern::literal(metaspace.replacement, where));
    steps.push_back(SplitStep{std::move(mark), SplitBehavior::merged_with_next});
  }
  return {};
}

Result<void> add_byte_level(const Json& object, std::string_view where,
                            std::vector<PretokenizerStep>& steps) {
  DGQ_TRY(const bool prefix, json_bool_or(object, "add_prefix_space", true, where));
  DGQ_TRY(const bool use_regex, json_bool_or(object, "use_regex", true, where));
  if (prefix) steps.push_back(PrefixStep{" "});
  if (use_regex) {
    DGQ_TRY(Pattern words, Pattern::regex(kGpt2Pattern, where));
    steps.push_back(SplitStep{std::move(words), SplitBehavior::isolated});
  }
  steps.push_back(ByteLettersStep{});
  return {};
}

Result<std::size_t> parse_count(const Json& object, const char* key, std::string_view where) {
  DGQ_TRY(const std::int64_t count, json_int_or(object, key, 0, 0, kMaxStrip, where));
  return static_cast<std::size_t>(count);
}

Result<DecodeStep> parse_decode_step(const Json& object, const std::string& type, bool fused,
                                     std::string_view where) {
  if (type == "ByteLevel") return DecodeStep(ByteLettersToTextStep{});
  if (type == "ByteFallback") return DecodeStep(ByteFallbackStep{});
  if (type == "Metaspace") {
    DGQ_TRY(const Metaspace metaspace, parse_metaspace(object, where));
    return DecodeStep(SpaceStep{metaspace.replacement, metaspace.scheme != Metaspace::never});
  }
  if (type == "Replace") {
    const Json* pattern = find_member(object, "pattern");
    if (!pattern || !find_member(*pattern, "String"))
      return unsupported(where, "decoder Replace without a String pattern");
    ReplaceTokenStep step;
    DGQ_TRY(step.pattern, json_string(*pattern, "String", where));
    DGQ_TRY(step.content, json_string(object, "content", where));
    if (step.pattern.empty()) return corrupt(where, "an empty pattern");
    if (fused && utf8_length(step.pattern) != step.pattern.size())
      return unsupported(where, "decoder Replace of several characters after Fuse");
    return DecodeStep(std::move(step));
  }
  if (type == "Strip") {
    StripStep step{{}, 0, 0, fused};
    DGQ_TRY(step.content, json_string(object, "content", where));
    DGQ_TRY(step.start, parse_count(object, "start", where));
    DGQ_TRY(step.stop, parse_count(object, "stop", where));
    if (step.content.empty() || utf8_length(step.content) != step.content.size())
      return corrupt(where, "the content of decoder Strip is not one character");
    return DecodeStep(std::move(step));
  }
  return unsupported(where, "decoder " + in_quotes(type));
}

// "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}], "special_tokens": {"<s>": {"ids": [1]}}.
Result<SpecialFrame> parse_template(const Json& object, std::string_view where) {
  const Json* single = find_member(object, "single");
  if (!single || !single->is_array())
    return corrupt(where, "TemplateProcessing without its array \"single\"");
  const Json* specials = find_member(object, "special_tokens");
  SpecialFrame frame;
  bool seen = false;
  for (const Json& piece : *single) {
    if (const Json* sequence = find_member(piece, "Sequence")) {
      DGQ_TRY(const std::string name, json_string(*sequence, "id", where));
      if (seen || name != "A") return unsupported(where, "TemplateProcessing with other than one sequence A");
      seen = true;
      continue;
    }
    const Json* special = find_member(piece, "SpecialToken");
    if (!special)
      return corrupt(where, "TemplateProcessing has a piece that is neither SpecialToken nor Sequence");
    DGQ_TRY(const std::string name, json_string(*special, "id", where));
    const Json* token = specials ? find_member(*specials, name.c_str()) : nullptr;
    const Json* ids = token ? find_member(*token, "ids") : nullptr;
    if (!ids || !ids->is_array())
      return corrupt(where, "TemplateProcessing has no ids for " + in_quotes(name));
    for (const Json& id : *ids) {
      if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= kMaxTokens)
        return corrupt(where, "TemplateProcessing has a bad id for " + in_quotes(name));
      (seen ? frame.after : frame.before).push_back(id.get<std::int32_t>());
    }
  }
  if (!seen) return unsupported(where, "TemplateProcessing without sequence A");
  return frame;
}

}  // namespace

Result<void> parse_normalizer(const Json* value, std::string_view where, std::vector<NormalizerStep>& steps) {
  static constexpr std::pair<const char*, UnicodeForm> kForms[] = {{"NFC", UnicodeForm::nfc},
                                                                   {"NFD", UnicodeForm::nfd},
                                                                   {"NFKC", UnicodeForm::nfkc},
                                                                   {"NFKD", UnicodeForm::nfkd}};
  if (!value) return {};
  return for_each_in_sequence(*value, "normalizers", where,
                              [&](const Json& object, const std::string& type) -> Result<void> {
                                for (const auto& [name, form] : kForms) {
                                  if (type != name) continue;
                                  steps.push_back(form);
                                  return {};
                                }
                                if (type == "Prepend") {
                                  DGQ_TRY(std::string prefix, json_string(object, "prepend", where));
                                  steps.push_back(PrependStep{std::move(prefix)});
                                } else if (type == "Replace") {
                                  DGQ_TRY(ReplaceStep step, parse_replace(object, where));
                                  steps.push_back(std::move(step));
                                } else {
                                  return unsupported(where, "normalizer " + in_quotes(type));
                                }
                                return {};
                              });
}

Result<void> parse_pretokenizer(const Json* value, std::string_view where,
                                std::vector<PretokenizerStep>& steps) {
  if (!value) return {};
  return for_each_in_sequence(
      *value, "pretokenizers", where, [&](const Json& object, const std::string& type) -> Result<void> {
        if (type == "ByteLevel") return add_byte_level(object, where, steps);
        if (type == "Metaspace") return add_metaspace(object, where, steps);
        if (type == "Split") {
          DGQ_TRY(SplitStep step, parse_split(object, where));
          steps.push_back(std::move(step));
        } else if (type == "Digits") {
          DGQ_TRY(const bool individual, json_bool_or(object, "individual_digits", false, where));
          DGQ_TRY(Pattern digits, Pattern::regex("\\p{N}", where));
          steps.push_back(
              SplitStep{std::move(digits), individual ? SplitBehavior::isolated : SplitBehavior::contiguous});
        } else {
          return unsupported(where, "pre-tokenizer " + in_quotes(type));
        }
        return {};
      });
}

Result<void> parse_post_processor(const Json* value, std::string_view where,
                                  std::vector<SpecialFrame>& frames) {
  if (!value) return {};
  return for_each_in_sequence(*value, "processors", where,
                              [&](const Json& object, const std::string& type) -> Result<void> {
                                if (type == "ByteLevel")
                                  return {};  // moves offsets only, which we do not report
                                if (type != "TemplateProcessing")
                                  return unsupported(where, "post-processor " + in_quotes(type));
                                DGQ_TRY(SpecialFrame frame, parse_template(object, where));
                                frames.push_back(std::move(frame));
                                return {};
                              });
}

Result<std::vector<DecodeStep>> parse_decoder(const Json* value, std::string_view where) {
  std::vector<DecodeStep> steps;
  if (!value) return std::vector<DecodeStep>{JoinStep{}};
  bool fused = false;
  DGQ_CHECK(for_each_in_sequence(
      *value, "decoders", where, [&](const Json& object, const std::string& type) -> Result<void> {
        const bool fuses = type == "Fuse" || type == "ByteLevel";
        // One token with a name of its own to see: what these would do to it depends on all of the text.
        if (fused && (type == "ByteLevel" || type == "ByteFallback" || type == "Metaspace"))
          return unsupported(where, "decoder " + in_quotes(type) + " after Fuse or ByteLevel");
        if (type != "Fuse") {
          DGQ_TRY(DecodeStep step, parse_decode_step(object, type, fused, where));
          steps.push_back(std::move(step));
        }
        fused = fused || fuses;
        return {};
      }));
  return steps;
}

}  // namespace dgq::tokenizer_json
