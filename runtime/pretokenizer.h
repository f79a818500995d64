// runtime/pretokenizer.h - cuts normalized text into the words that BPE merges within.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "runtime/normalizer.h"
#include "runtime/pretokenizer_regex.h"

namespace dgq {

// Hugging Face's pre-tokenizers come apart into these steps: ByteLevel is [prefix] [split by kGpt2Pattern] bytes,
// Metaspace is replace, prefix [split], Digits is split.
enum class SplitBehavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };
struct SplitStep {
  Pattern pattern;
  SplitBehavior behavior;
  bool invert = false;
};
struct PrefixStep {
  std::string prefix;
  bool only_at_start = false;
};                          // before words that do not start with it
struct ByteLettersStep {};  // every byte becomes byte_letter(byte)
using PretokenizerStep = std::variant<SplitStep, PrefixStep, ReplaceStep, ByteLettersStep>;

// GPT-2's words (Radford et al. 2019, the pattern of its encoder).
inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// GPT-2's alphabet of bytes: printable Latin-1 stands for itself, the 68 other bytes are U+0100, U+0101, ... in order.
inline constexpr std::size_t kByteLetterEnd = 0x144;  // one past the largest
constexpr std::array<char32_t, 256> make_byte_letters() {
  std::array<char32_t, 256> letters{};
  char32_t next = 0x100;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    letters[byte] = printable ? byte : next++;
  }
  return letters;
}
inline constexpr std::array<char32_t, 256> kByteLetters = make_byte_letters();

// Words as ranges of one text; never empty ranges.
struct Words {
  std::string text;
  std::vector<TextRange> ranges;
};

// text: well-formed UTF-8. at_start: it begins where the whole input begins. Errors: unsupported (a pattern gave up).
Result<Words> pretokenize(const std::vector<PretokenizerStep>& steps, std::string text, bool at_start);

}  // namespace dgq
