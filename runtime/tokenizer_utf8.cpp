#include "runtime/tokenizer_utf8.h"

#include <cstdio>

namespace dgq {
namespace {

struct Step {
  enum Kind { valid, invalid, incomplete } kind;
  std::size_t bytes;  // of the character, or of the maximal part of one
};

unsigned char byte_at(std::string_view text, std::size_t i) { return static_cast<unsigned char>(text[i]); }

Step step(std::string_view text) {
  const unsigned char lead = byte_at(text, 0);
  if (lead < 0x80) return {Step::valid, 1};
  if (lead < 0xC2 || lead > 0xF4) return {Step::invalid, 1};
  const std::size_t length = utf8_length(text);
  // The second byte excludes overlong forms, surrogates and what lies past U+10FFFF.
  const unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  for (std::size_t i = 1; i < length; ++i) {
    if (i == text.size()) return {Step::incomplete, i};
    const unsigned char byte = byte_at(text, i);
    if (byte < (i == 1 ? low : 0x80) || byte > (i == 1 ? high : 0xBF)) return {Step::invalid, i};
  }
  return {Step::valid, length};
}

}  // namespace

char32_t utf8_code_point(std::string_view text) {
  const std::size_t length = utf8_length(text);
  if (length == 1) return byte_at(text, 0);
  char32_t value = byte_at(text, 0) & (0x7Fu >> length);
  for (std::size_t i = 1; i < length; ++i) value = value << 6 | (byte_at(text, i) & 0x3Fu);
  return value;
}

void append_utf8(char32_t code_point, std::string& out) {
  const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  const auto tail = [&](int shift) { put(0x80 | (code_point >> shift & 0x3F)); };
  if (code_point < 0x80) return put(code_point);
  if (code_point < 0x800) return put(0xC0 | code_point >> 6), tail(0);
  if (code_point < 0x10000) return put(0xE0 | code_point >> 12), tail(6), tail(0);
  put(0xF0 | code_point >> 18), tail(12), tail(6), tail(0);
}

std::size_t find_invalid_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const Step next = step(text.substr(at));
    if (next.kind != Step::valid) return at;
    at += next.bytes;
  }
  return std::string_view::npos;
}

std::size_t append_lossy(std::string_view bytes, bool last, std::string& out) {
  std::size_t at = 0;
  while (at < bytes.size()) {
    const Step next = step(bytes.substr(at));
    if (next.kind == Step::incomplete && !last) break;
    if (next.kind == Step::valid) {
      out.append(bytes.substr(at, next.bytes));
    } else {
      out.append("\uFFFD");
    }
    at += next.bytes;
  }
  return at;
}

std::string in_quotes(std::string_view text) {
  constexpr std::size_t kMaxBytes = 160;
  std::string out = "\"";
  std::size_t at = 0;
  for (std::size_t length; at < text.size() && out.size() < kMaxBytes; at += length) {
    length = utf8_length(text.substr(at));
    char escape[8] = "";
    if (byte_at(text, at) < 0x20 || byte_at(text, at) == 0x7F)
      std::snprintf(escape, sizeof escape, "\\x%02X", byte_at(text, at));
    out += *escape ? std::string_view(escape) : text.substr(at, length);
  }
  return out += at < text.size() ? "...\"" : "\"";
}

}  // namespace dgq
