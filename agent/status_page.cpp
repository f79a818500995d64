#include "agent/status_page.h"

#include <string_view>

#include "agent/status_page_parts.h"  // made from agent/status/ by agent/CMakeLists.txt
#include "base/digest.h"

namespace dgq::agent {
namespace {

std::string base64(std::string_view bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const auto byte = [&](std::size_t j) {
      return i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0u;
    };
    const unsigned group = byte(0) << 16 | byte(1) << 8 | byte(2);
    for (unsigned j = 0; j < 4; ++j)
      text += i + j <= bytes.size() ? kDigits[group >> (18 - 6 * j) & 63] : '=';
  }
  return text;
}

// How a Content-Security-Policy names what stands between <script> and </script>.
std::string source(std::string_view text) {
  const Digest digest = sha256(text);
  return "'sha256-" + base64({reinterpret_cast<const char*>(digest.bytes.data()), digest.bytes.size()}) + "'";
}

void put(std::string& html, std::string_view place, std::string_view text) {
  html.replace(html.find(place), place.size(), text);
}

StatusPage make() {
  StatusPage page{kStatusHtml, {}};
  put(page.html, "/* status.css */", kStatusCss);
  put(page.html, "/* status.js */", kStatusJs);
  page.headers =
      "Content-Security-Policy: default-src 'none'; script-src " + source(kStatusJs) + "; style-src " +
      source(kStatusCss) +
      "; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
      "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n";
  return page;
}

}  // namespace

const StatusPage& status_page() {
  static const StatusPage page = make();
  return page;
}

}  // namespace dgq::agent
