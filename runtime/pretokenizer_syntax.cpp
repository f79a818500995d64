// Oniguruma (Ruby) syntax to PCRE2's. Sources: Oniguruma doc/RE, pcre2pattern(3).
#include <optional>

#include "runtime/pretokenizer_regex.h"
#include "runtime/tokenizer_utf8.h"

namespace dgq {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

class Translator {
 public:
  Translator(std::string_view in, std::string_view where) : in_(in), where_(where) {}

  Result<std::string> run() {
    if (take("(?i)")) out_ += "(?i)", caseless_.push_back(true);  // elsewhere its scope differs
    while (at_ < in_.size()) DGQ_CHECK(item());
    return std::move(out_);
  }

 private:
  Error refuse(std::string_view what) const {
    return {Errc::unsupported, std::string(where_) +
                                   ": unsupported in a regular expression: " + std::string(what) +
                                   " at byte " + std::to_string(at_) + " of " + in_quotes(in_)};
  }
  char peek(std::size_t ahead = 0) const { return at_ + ahead < in_.size() ? in_[at_ + ahead] : '\0'; }
  bool take(std::string_view text) {
    if (in_.substr(at_, text.size()) != text) return false;
    at_ += text.size();
    return true;
  }

  Result<void> item() {
    const char c = in_[at_];
    if (c == '\\') return escape(false);
    if (c == '[') return char_class();
    if (c == '(') return group();
    if (c == '*' || c == '+' || c == '?') return quantifier();
    if (c == '{') return counted();
    if (c == ')' && !caseless_.empty()) caseless_.pop_back();
    out_ += c, ++at_;
    return {};
  }

  Result<void> group() {
    static constexpr std::string_view kOpenings[] = {"(?:", "(?i:", "(?=", "(?!", "(?<=", "(?<!", "(?>"};
    for (const auto opening : kOpenings) {
      if (!take(opening)) continue;
      caseless_.push_back(opening == "(?i:" || inside_caseless());
      out_ += opening;
      return {};
    }
    if (peek(1) == '?' || peek(1) == '*') return refuse("this kind of group");
    caseless_.push_back(inside_caseless());
    out_ += in_[at_++];
    return {};
  }

  Result<void> quantifier() {
    out_ += in_[at_++];
    if (peek() == '?' || peek() == '+') out_ += in_[at_++];  // lazy, possessive: the same in both
    return no_second_quantifier();
  }

  // {n}, {n,}, {n,m}, {,m}. Ruby reads {n}? as optional and {n,m}+ as repeated: refused.
  Result<void> counted() {
    std::size_t end = at_ + 1;
    bool comma = false;
    for (; end < in_.size() && (is_digit(in_[end]) || (in_[end] == ',' && !comma)); ++end)
      comma |= in_[end] == ',';
    if (end >= in_.size() || in_[end] != '}' || end - at_ < (comma ? 3u : 2u))
      return refuse("an unescaped {");
    out_ += peek(1) == ',' ? "{0" : "{";
    out_ += in_.substr(at_ + 1, end - at_);
    at_ = end + 1;
    if (comma && peek() == '?') out_ += in_[at_++];
    return no_second_quantifier();
  }

  Result<void> no_second_quantifier() const {
    const char c = peek();
    if (c == '*' || c == '+' || c == '?' || c == '{') return refuse("a quantifier after a quantifier");
    return {};
  }

  Result<void> char_class() {
    out_ += in_[at_++];
    if (peek() == '^') out_ += in_[at_++];
    if (peek() == ']') return refuse("] at the start of a class");
    while (at_ < in_.size()) {
      if (peek() == '[') return refuse("a class inside a class");
      if (peek() == '&' && peek(1) == '&') return refuse("&& in a class");
      if (peek() == '\\') {
        DGQ_CHECK(escape(true));
        continue;
      }
      const char c = in_[at_++];
      out_ += c;
      if (c == ']') return {};
    }
    return Error{Errc::corrupt, std::string(where_) + ": a class [ without its ] in " + in_quotes(in_)};
  }

  Result<void> escape(bool in_class) {
    const char c = peek(1);
    switch (c) {
      // PCRE2's own \s also matches U+180E, which is no White_Space since Unicode 6.3; \d needs no UCP so.
      case 's':
        return put("\\p{White_Space}", 2);
      case 'S':
        return put("\\P{White_Space}", 2);
      case 'd':
        return put("\\p{Nd}", 2);
      case 'D':
        return put("\\P{Nd}", 2);
      case 'v':
        return put("\\x{0B}", 2);
      case 'r':
      case 'n':
      case 't':
      case 'f':
      case 'a':
      case 'e':
        return put(in_.substr(at_, 2), 2);
      case 'A':
      case 'z':
      case 'Z':
        if (!in_class) return put(in_.substr(at_, 2), 2);
        break;
      case 'p':
      case 'P':
        return property();
      case 'x':
      case 'u':
        return code_point();
      default:
        if (c != '\0' && !is_letter(c) && !is_digit(c)) return put(in_.substr(at_, 2), 2);
    }
    return refuse("the escape " + in_quotes(in_.substr(at_, 2)));
  }

  Result<void> put(std::string_view text, std::size_t consumed) {
    out_ += text, at_ += consumed;
    return {};
  }

  // General categories are spelled the same; any other name is a script. (PCRE2's bare script names mean extensions.)
  Result<void> property() {
    const std::size_t close = in_.find('}', at_);
    if (peek(2) != '{' || close == std::string_view::npos) return refuse("this \\p");
    if (inside_caseless()) return refuse("a property under (?i)");  // PCRE2 widens Lu, Ll, Lt there
    std::string_view name = in_.substr(at_ + 3, close - at_ - 3);
    const bool negated = !name.empty() && name[0] == '^';
    if (negated) name.remove_prefix(1);
    for (const char c : name)
      if (!is_letter(c) && c != '_') return refuse("this property");
    out_ += negated == (peek(1) == 'p') ? "\\P{" : "\\p{";
    out_ += (name.size() <= 2 ? "" : "sc:") + std::string(name) + "}";
    at_ = close + 1;
    return {};
  }

  // \x{H...}, \xHH below 0x80 (above, Oniguruma means a byte), \uHHHH.
  Result<void> code_point() {
    std::size_t first = at_ + 2;
    const bool braces = peek(1) == 'x' && peek(2) == '{';
    if (braces) ++first;
    const std::size_t wanted = braces ? 8 : peek(1) == 'x' ? 2 : 4;
    std::size_t last = first;
    while (last < in_.size() && last - first < wanted && is_hex(in_[last])) ++last;
    const bool complete =
        braces ? last > first && last < in_.size() && in_[last] == '}' : last - first == wanted;
    if (!complete || (peek(1) == 'x' && !braces && in_[first] > '7')) return refuse("this code point");
    return put("\\x{" + std::string(in_.substr(first, last - first)) + "}", last + braces - at_);
  }

  bool inside_caseless() const { return !caseless_.empty() && caseless_.back(); }

  std::string_view in_, where_;
  std::size_t at_ = 0;
  std::string out_;
  std::vector<bool> caseless_;  // per open group
};

}  // namespace

Result<std::string> translate_regex(std::string_view expression, std::string_view where) {
  return Translator(expression, where).run();
}

}  // namespace dgq
