// report/text.h - text and numbers as they stand in SVG and HTML.
#pragma once

#include <string>
#include <string_view>

namespace dgq {

// Any bytes as text between tags or in a quoted attribute, in XML and HTML: & < > " ' become entities; what is not UTF-8, or is a
// character that XML does not allow (control characters but tab and line break), becomes U+FFFD.
std::string escape_xml(std::string_view text);

// About `digits` significant digits, trailing zeros dropped: "0.0123", "12", "1.5e-7"; "-" when not finite.
std::string short_number(double value, int digits = 4);

}  // namespace dgq
