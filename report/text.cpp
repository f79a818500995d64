#include "report/text.h"

#include <charconv>
#include <cmath>
#include <cstdint>

namespace dgq {
namespace {

// Bytes of the character at the start of `text` when it is well-formed UTF-8 that XML allows, else 0.
std::size_t character_size(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  if (first < 0x80) return first >= 0x20 || first == '\t' || first == '\n' ? 1 : 0;
  const std::size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || size > text.size()) return 0;
  std::uint32_t code = first & (0x7fu >> size);
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    code = code << 6 | (byte(i) & 0x3f);
  }
  constexpr std::uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xd800 && code < 0xe000, unassigned = code == 0xfffe || code == 0xffff;
  return code < kLeast[size] || code > 0x10ffff || surrogate || unassigned ? 0 : size;
}

// "1.50e+07" becomes "1.5e7".
std::string tidy(std::string number) {
  const std::size_t e = number.find('e');
  std::string mantissa = number.substr(0, e);
  if (mantissa.find('.') != mantissa.npos) {
    mantissa.erase(mantissa.find_last_not_of('0') + 1);
    if (mantissa.back() == '.') mantissa.pop_back();
  }
  if (e == number.npos) return mantissa;
  const bool negative = number[e + 1] == '-';
  return mantissa + (negative ? "e-" : "e") + number.substr(number.find_first_not_of("+-0", e + 1));
}

}  // namespace

std::string escape_xml(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t size = character_size(text);
    switch (size == 1 ? text[0] : '\0') {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += size == 0 ? std::string_view("\xef\xbf\xbd") : text.substr(0, size);
    }
    text.remove_prefix(size == 0 ? 1 : size);
  }
  return out;
}

std::string short_number(double value, int digits) {
  if (!std::isfinite(value)) return "-";
  if (value == 0) return "0";
  char text[64];
  const double size = std::fabs(value);
  const bool plain = size >= 1e-4 && size < 1e7;
  const int before = static_cast<int>(std::floor(std::log10(size))) + 1;  // digits before the point
  const auto end =
      plain ? std::to_chars(text, text + sizeof text, value, std::chars_format::fixed,
                            std::max(0, digits - before))
            : std::to_chars(text, text + sizeof text, value, std::chars_format::scientific, digits - 1);
  return tidy({text, end.ptr});
}

}  // namespace dgq
