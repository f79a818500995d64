// runtime/tokenizer_utf8.h - UTF-8 as the tokenizer needs it (well-formed: Unicode Standard, table 3-7).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace dgq {

// Bytes of the character at the start of well-formed, non-empty text.
inline std::size_t utf8_length(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

// The code point at the start of well-formed, non-empty text.
char32_t utf8_code_point(std::string_view text);

void append_utf8(char32_t code_point, std::string& out);

// Offset of the first byte that is not part of a well-formed character; npos: all is well.
std::size_t find_invalid_utf8(std::string_view text);

// Appends `bytes` to `out` with every maximal ill-formed part replaced by U+FFFD (the Unicode Standard's recommendation,
// section 3.9; what Rust calls from_utf8_lossy). Unless `last`, an incomplete character at the end is left alone:
// returns how many bytes were used.
std::size_t append_lossy(std::string_view bytes, bool last, std::string& out);

// Well-formed text from a file as part of a one-line message: in quotes, control characters escaped, long text cut.
std::string in_quotes(std::string_view text);

}  // namespace dgq
