#include "runtime/string_bytes.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "base/json_escape.h"
#include "runtime/tokenizer_utf8.h"

namespace dgq {
namespace {

ByteSequence exactly(std::string_view bytes) {
  ByteSequence made;
  for (const char byte : bytes)
    made.push_back({static_cast<unsigned char>(byte), static_cast<unsigned char>(byte)});
  return made;
}

// The characters of an ASCII range as JSON writes them, those that differ in the last byte only at once.
void write_ascii(char32_t low, char32_t high, std::vector<ByteSequence>& out) {
  bool joins = false;  // the one before may go on
  for (char32_t point = low; point <= high; ++point) {
    const std::string escape = json_escape(static_cast<unsigned char>(point));
    const bool is_numbered = escape.starts_with("\\u");
    if (!escape.empty() && !is_numbered) {
      out.push_back(exactly(escape));
      joins = false;
      continue;
    }
    const std::string text = is_numbered ? escape : std::string(1, static_cast<char>(point));
    if (is_numbered) {
      if (point % 16 == 0 || text.back() == 'a') joins = false;
    } else if (point == 0x20) {
      joins = false;
    }
    if (joins)
      out.back().back().high = static_cast<unsigned char>(text.back());
    else
      out.push_back(exactly(text));
    joins = true;
  }
}

// A range beyond ASCII as sequences of ranges of bytes, whose characters are all of it.
void write_range(char32_t low, char32_t high, std::vector<ByteSequence>& out) {
  const auto split = [&](char32_t end) {
    write_range(low, end, out);
    write_range(end + 1, high, out);
  };
  for (const char32_t longest : {char32_t{0x7FF}, char32_t{0xFFFF}})
    if (low <= longest && high > longest) return split(longest);
  for (int bytes = 1; bytes < 4; ++bytes) {  // that may be any continuation
    const char32_t mask = (char32_t{1} << 6 * bytes) - 1;
    if ((low & ~mask) == (high & ~mask)) continue;
    if ((low & mask) != 0) return split(low | mask);
    if ((high & mask) != mask) return split((high & ~mask) - 1);
  }
  std::string first, last;
  append_utf8(low, first);
  append_utf8(high, last);
  ByteSequence sequence;
  for (std::size_t i = 0; i < first.size(); ++i)
    sequence.push_back({static_cast<unsigned char>(first[i]), static_cast<unsigned char>(last[i])});
  out.push_back(std::move(sequence));
}

}  // namespace

std::vector<ByteSequence> bytes_of(const CodePoints& set) {
  std::vector<ByteSequence> out;
  for (const auto& [low, high] : set) {
    if (low < 0x80) write_ascii(low, std::min<char32_t>(high, 0x7F), out);
    if (high >= 0x80) write_range(std::max<char32_t>(low, 0x80), high, out);
  }
  return out;
}

}  // namespace dgq
