#include "runtime/jinja_lexer.h"

#include <algorithm>
#include <array>

#include "runtime/jinja_parser.h"
#include "runtime/tokenizer_utf8.h"

namespace dgq::jinja {
namespace {

using Kind = Token::Kind;

bool is_name_start(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_white(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

class Lexer {
 public:
  explicit Lexer(std::string text) : text_(std::move(text)) {}

  Result<std::vector<Token>> run() {
    while (at_ < text_.size()) {
      const std::size_t tag = find_tag();
      add_text(tag);
      if (tag == text_.size()) break;
      at_ = tag + 2;
      const char kind = text_[tag + 1];
      if (at_ < text_.size() && (text_[at_] == '-' || text_[at_] == '+')) ++at_;
      if (kind == '#') {
        DGQ_CHECK(comment());
        continue;
      }
      add(kind == '%' ? Kind::tag_begin : Kind::output_begin, {});
      DGQ_CHECK(inside(kind));
    }
    add(Kind::end, {});
    return std::move(tokens_);
  }

 private:
  char peek(std::size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  void add(Kind kind, std::string text) { tokens_.push_back({kind, line_, std::move(text)}); }
  void go(std::size_t to) {
    line_ += static_cast<int>(std::count(text_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         text_.begin() + static_cast<std::ptrdiff_t>(to), '\n'));
    at_ = to;
  }
  Error error(const std::string& what, Errc code = Errc::invalid) const {
    return error_at(line_, code, what);
  }

  std::size_t find_tag() const {
    for (std::size_t i = at_; i + 1 < text_.size(); ++i)
      if (text_[i] == '{' && (text_[i + 1] == '{' || text_[i + 1] == '%' || text_[i + 1] == '#')) return i;
    return text_.size();
  }

  // What stands before a tag, without what the tag takes away.
  void add_text(std::size_t tag) {
    std::string_view part = std::string_view(text_).substr(at_, tag - at_);
    const char sign = tag + 2 < text_.size() ? text_[tag + 2] : '\0';
    if (tag < text_.size() && sign == '-') {
      while (!part.empty() && is_white(part.back())) part.remove_suffix(1);
    } else if (tag < text_.size() && sign != '+' && text_[tag + 1] != '{') {
      const std::size_t line = part.rfind('\n') + 1;  // npos + 1 is 0
      if ((line > 0 || line_starts_) &&
          std::all_of(part.begin() + static_cast<std::ptrdiff_t>(line), part.end(), is_white))
        part = part.substr(0, line);
    }
    if (!part.empty()) add(Kind::text, std::string(part));
    go(tag);
  }

  // The end of a tag or comment, and what it takes away after itself.
  void end_tag(char sign, bool trims) {
    const std::size_t from = at_;
    std::size_t to = at_;
    if (sign == '-')
      while (to < text_.size() && is_white(text_[to])) ++to;
    else if (trims && sign != '+' && peek() == '\n')
      ++to;
    go(to);
    line_starts_ = to > from && text_[to - 1] == '\n';
  }

  Result<void> comment() {
    const std::size_t end = text_.find("#}", at_);
    if (end == std::string::npos) return error("a comment that does not end");
    const char sign = end > at_ ? text_[end - 1] : '\0';
    go(end + 2);
    end_tag(sign == '-' || sign == '+' ? sign : '\0', true);
    return {};
  }

  Result<void> inside(char kind) {
    const std::string close = kind == '%' ? "%}" : "}}";
    std::string open;  // brackets
    while (true) {
      while (at_ < text_.size() && is_white(text_[at_])) go(at_ + 1);
      if (at_ >= text_.size()) return error("a tag that does not end");
      const char sign =
          (peek() == '-' || peek() == '+') && text_.compare(at_ + 1, 2, close) == 0 ? peek() : '\0';
      if (open.empty() && (sign || text_.compare(at_, 2, close) == 0)) {
        add(kind == '%' ? Kind::tag_end : Kind::output_end, {});
        at_ += sign ? 3 : 2;
        end_tag(sign, kind == '%');
        return {};
      }
      DGQ_CHECK(token(open));
    }
  }

  Result<void> token(std::string& open) {
    const char c = peek();
    if (is_name_start(c)) {
      std::size_t end = at_;
      while (end < text_.size() && (is_name_start(text_[end]) || is_digit(text_[end]))) ++end;
      add(Kind::name, text_.substr(at_, end - at_));
      at_ = end;
      return {};
    }
    if (is_digit(c)) return number();
    if (c == '\'' || c == '"') return string(c);
    for (const char* two : {"**", "//", "==", "!=", ">=", "<="})
      if (text_.compare(at_, 2, two) == 0) {
        add(Kind::symbol, two);
        at_ += 2;
        return {};
      }
    if (std::string_view("+-*/%~()[]{}<>=.:|,").find(c) == std::string_view::npos) {
      const std::string_view rest = std::string_view(text_).substr(at_);
      return error("unexpected " + in_quotes(rest.substr(0, utf8_length(rest))));
    }
    if (c == '(' || c == '[' || c == '{') open += c;
    if (c == ')' || c == ']' || c == '}') {
      if (open.empty() || open.back() != (c == ')' ? '(' : c == ']' ? '[' : '{'))
        return error(std::string("unexpected '") + c + "'");
      open.pop_back();
    }
    add(Kind::symbol, std::string(1, c));
    ++at_;
    return {};
  }

  Result<void> number() {
    std::size_t end = at_;
    const auto digits = [&] {
      while (end < text_.size() && is_digit(text_[end])) ++end;
    };
    digits();
    bool real = false;
    if (end + 1 < text_.size() && text_[end] == '.' && is_digit(text_[end + 1])) {
      real = true;
      ++end;
      digits();
    }
    std::size_t exponent = end + 1;
    if (exponent < text_.size() && (text_[exponent] == '+' || text_[exponent] == '-')) ++exponent;
    if (end < text_.size() && (text_[end] | 0x20) == 'e' && exponent < text_.size() &&
        is_digit(text_[exponent])) {
      real = true;
      end = exponent;
      digits();
    }
    if (!real && end - at_ > 18) return error("an integer of more than 18 digits", Errc::unsupported);
    add(real ? Kind::real : Kind::integer, text_.substr(at_, end - at_));
    at_ = end;
    return {};
  }

  Result<void> string(char quote) {
    std::string out;
    go(at_ + 1);
    for (; at_ < text_.size() && text_[at_] != quote; go(at_ + 1)) {
      if (text_[at_] != '\\') {
        out += text_[at_];
        continue;
      }
      go(at_ + 1);
      DGQ_CHECK(escape(out));
    }
    if (at_ >= text_.size()) return error("a string that does not end");
    add(Kind::string, std::move(out));
    ++at_;
    return {};
  }

  Result<void> escape(std::string& out) {
    const char c = peek();
    constexpr std::string_view kFrom = "nrtbf\\'\"", kTo = "\n\r\t\b\f\\'\"";
    if (const std::size_t known = kFrom.find(c); known != std::string_view::npos) {
      out += kTo[known];
    } else if (c == 'x' || c == 'u') {
      const std::size_t count = c == 'x' ? 2 : 4;
      char32_t code = 0;
      for (std::size_t i = 1; i <= count; ++i) {
        const std::size_t digit =
            std::string_view("0123456789abcdef").find(static_cast<char>(peek(i) | 0x20));
        if (digit == std::string_view::npos) return error("a broken escape in a string");
        code = code * 16 + static_cast<char32_t>(digit);
      }
      if (code >= 0xD800 && code < 0xE000) return error("a surrogate in a string", Errc::unsupported);
      append_utf8(code, out);
      at_ += count;
    } else if (c != '\n') {
      (out += '\\') += c;  // Python keeps what it does not know; a line break is continued
    }
    return {};
  }

  const std::string text_;
  std::size_t at_ = 0;
  int line_ = 1;
  bool line_starts_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

Result<std::vector<Token>> read_tokens(std::string_view text) {
  std::string lines;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n') continue;
    lines += text[i] == '\r' ? '\n' : text[i];
  }
  if (lines.ends_with('\n')) lines.pop_back();  // as Jinja does, unless keep_trailing_newline is set
  return Lexer(std::move(lines)).run();
}

}  // namespace dgq::jinja
