#include "runtime/pretokenizer.h"

#include "runtime/tokenizer_utf8.h"

namespace dgq {
namespace {

struct Part {
  TextRange range;
  bool match;
};

// Matches and the text between them, in order.
Result<void> find_parts(const SplitStep& step, std::string_view text, std::vector<TextRange>& matches,
                        std::vector<Part>& parts) {
  matches.clear();
  parts.clear();
  DGQ_CHECK(step.pattern.find_all(text, matches));
  std::size_t done = 0;
  for (const TextRange& match : matches) {
    if (match.begin > done) parts.push_back({{done, match.begin}, step.invert});
    parts.push_back({match, !step.invert});
    done = match.end;
  }
  if (done < text.size()) parts.push_back({{done, text.size()}, step.invert});
  return {};
}

// Whether `part` joins the part before it.
bool joins(SplitBehavior behavior, const Part& before, const Part& part) {
  switch (behavior) {
    case SplitBehavior::contiguous:
      return part.match == before.match;
    case SplitBehavior::merged_with_previous:
      return part.match && !before.match;
    case SplitBehavior::merged_with_next:
      return before.match && !part.match;
    default:
      return false;
  }
}

Result<Words> apply(const SplitStep& step, Words words, bool) {
  std::vector<TextRange> ranges, matches;
  std::vector<Part> parts;
  for (const TextRange& word : words.ranges) {
    DGQ_CHECK(find_parts(step, std::string_view(words.text).substr(word.begin, word.end - word.begin),
                         matches, parts));
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const TextRange range{word.begin + parts[i].range.begin, word.begin + parts[i].range.end};
      if (i > 0 && joins(step.behavior, parts[i - 1], parts[i])) {
        ranges.back().end = range.end;
      } else if (step.behavior != SplitBehavior::removed || !parts[i].match) {
        ranges.push_back(range);
      }
    }
  }
  std::erase_if(ranges, [](const TextRange& range) { return range.begin == range.end; });
  words.ranges = std::move(ranges);
  return words;
}

// Rebuilds the text word by word; append(word, index, out) writes what replaces a word.
template <class Append>
Result<Words> rewrite(const Words& words, const Append& append) {
  Words out;
  out.text.reserve(words.text.size() + words.text.size() / 4);
  for (std::size_t i = 0; i < words.ranges.size(); ++i) {
    const auto [begin, end] = words.ranges[i];
    const std::size_t start = out.text.size();
    DGQ_CHECK(append(std::string_view(words.text).substr(begin, end - begin), i, out.text));
    if (out.text.size() > start) out.ranges.push_back({start, out.text.size()});
  }
  return out;
}

Result<Words> apply(const PrefixStep& step, Words words, bool at_start) {
  return rewrite(words, [&](std::string_view word, std::size_t i, std::string& out) -> Result<void> {
    if ((!step.only_at_start || (at_start && i == 0)) && !word.starts_with(step.prefix)) out += step.prefix;
    out += word;
    return {};
  });
}

Result<Words> apply(const ReplaceStep& step, Words words, bool) {
  return rewrite(words, [&](std::string_view word, std::size_t, std::string& out) -> Result<void> {
    DGQ_TRY(const std::string replaced, replace_all(step, word));
    out += replaced;
    return {};
  });
}

Result<Words> apply(const ByteLettersStep&, Words words, bool) {
  return rewrite(words, [](std::string_view word, std::size_t, std::string& out) -> Result<void> {
    for (const char byte : word) append_utf8(kByteLetters[static_cast<unsigned char>(byte)], out);
    return {};
  });
}

}  // namespace

Result<Words> pretokenize(const std::vector<PretokenizerStep>& steps, std::string text, bool at_start) {
  Words words{std::move(text), {}};
  if (!words.text.empty()) words.ranges.push_back({0, words.text.size()});
  for (const PretokenizerStep& step : steps) {
    DGQ_TRY(words,
            std::visit([&](const auto& chosen) { return apply(chosen, std::move(words), at_start); }, step));
  }
  return words;
}

}  // namespace dgq
