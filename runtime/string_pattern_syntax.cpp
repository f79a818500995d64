#include "runtime/string_pattern_syntax.h"

#include <algorithm>
#include <optional>
#include <string>

#include "runtime/tokenizer_utf8.h"

namespace dgq {
namespace {

using Kind = PatternNode::Kind;

constexpr char32_t kLast = 0x10FFFF, kFirstSurrogate = 0xD800, kLastSurrogate = 0xDFFF;

// ECMAScript 2024, 22.2.2.9; of \s WhiteSpace and LineTerminator, 12.2 and 12.3.
const CodePoints kDigits = {{'0', '9'}};
const CodePoints kWord = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
const CodePoints kSpace = {{9, 13},          {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680},
                           {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F},
                           {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
const CodePoints kLineEnds = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};

CodePoints without_surrogates(const CodePoints& ranges) {
  CodePoints kept;
  for (const auto& [low, high] : ranges) {
    if (low < kFirstSurrogate) kept.emplace_back(low, std::min<char32_t>(high, kFirstSurrogate - 1));
    if (high > kLastSurrogate) kept.emplace_back(std::max<char32_t>(low, kLastSurrogate + 1), high);
  }
  return kept;
}

CodePoints united(CodePoints ranges) {
  std::sort(ranges.begin(), ranges.end());
  CodePoints joined;
  for (const auto& range : ranges) {
    if (!joined.empty() && range.first <= joined.back().second + 1)
      joined.back().second = std::max(joined.back().second, range.second);
    else
      joined.push_back(range);
  }
  return without_surrogates(joined);
}

CodePoints all_but(const CodePoints& ranges) {
  CodePoints others;
  char32_t next = 0;
  for (const auto& [low, high] : ranges) {
    if (low > next) others.emplace_back(next, low - 1);
    next = high + 1;
  }
  if (next <= kLast) others.emplace_back(next, kLast);
  return without_surrogates(others);
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

PatternNode set_of(CodePoints points) { return {Kind::set, std::move(points), {}, 0, 0}; }
PatternNode repeated(PatternNode part, std::uint32_t low, std::uint32_t high) {
  PatternNode made{Kind::repeat, {}, {}, low, high};
  made.parts.push_back(std::move(part));
  return made;
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<PatternNode> whole() {
    PatternNode all{Kind::choice};
    do {
      DGQ_TRY(PatternNode one, anchored());
      all.parts.push_back(std::move(one));
    } while (take('|'));
    if (at_ < text_.size()) return wrong("a ) without its (");
    return all;
  }

 private:
  Error error(Errc code, const std::string& what) const {
    return {code, what + " at byte " + std::to_string(at_) + " of " + in_quotes(text_)};
  }
  Error refuse(const std::string& what) const { return error(Errc::unsupported, what + " is not supported"); }
  Error wrong(const std::string& what) const { return error(Errc::invalid, what); }

  bool ended() const { return at_ == text_.size(); }
  char peek(std::size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  bool take(char c) {
    if (ended() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  char32_t take_character() {
    const char32_t point = utf8_code_point(text_.substr(at_));
    at_ += utf8_length(text_.substr(at_));
    return point;
  }

  // A choice of the whole pattern: what stands around it may be anything, unless an anchor says otherwise.
  Result<PatternNode> anchored() {
    const bool from_start = take('^');
    DGQ_TRY(PatternNode body, sequence(0));
    const bool to_end = take('$');
    if (to_end && !ended() && peek() != '|') return refuse("$ that is not at the end of a choice");
    PatternNode around{Kind::sequence};
    if (!from_start) around.parts.push_back(any_string(0, PatternNode::kMany));
    around.parts.push_back(std::move(body));
    if (!to_end) around.parts.push_back(any_string(0, PatternNode::kMany));
    return around;
  }

  Result<PatternNode> sequence(std::size_t depth) {
    PatternNode made{Kind::sequence};
    while (!ended() && peek() != '|' && peek() != ')') {
      if (peek() == '$' && depth == 0) break;
      DGQ_TRY(PatternNode part, atom(depth));
      DGQ_TRY(part, quantified(std::move(part)));
      made.parts.push_back(std::move(part));
    }
    return made;
  }

  Result<PatternNode> atom(std::size_t depth) {
    switch (peek()) {
      case '(':
        return group(depth);
      case '[': {
        DGQ_TRY(CodePoints points, char_class());
        return set_of(std::move(points));
      }
      case '.':
        ++at_;
        return set_of(all_but(kLineEnds));
      case '\\': {
        DGQ_TRY(CodePoints points, escape(false));
        return set_of(std::move(points));
      }
      case '^':
      case '$':
        return refuse(std::string(1, peek()) + " inside of a choice");
      case '*':
      case '+':
      case '?':
      case '{':
        return wrong("there is nothing that could be repeated");
      default: {
        const char32_t point = take_character();
        return set_of({{point, point}});
      }
    }
  }

  Result<PatternNode> group(std::size_t depth) {
    if (depth == kMaxPatternDepth)
      return error(Errc::unsupported, "groups nest deeper than " + std::to_string(kMaxPatternDepth));
    if (peek(1) == '?' && peek(2) != ':') return refuse("this kind of group");
    at_ += peek(1) == '?' ? 3 : 1;
    PatternNode made{Kind::choice};
    do {
      DGQ_TRY(PatternNode one, sequence(depth + 1));
      made.parts.push_back(std::move(one));
    } while (take('|'));
    if (!take(')')) return wrong("a ( without its )");
    return made;
  }

  Result<PatternNode> quantified(PatternNode part) {
    std::uint32_t low = 0, high = PatternNode::kMany;
    if (take('?')) {
      high = 1;
    } else if (take('+')) {
      low = 1;
    } else if (take('{')) {
      DGQ_TRY(low, count());
      high = low;
      if (take(',')) high = PatternNode::kMany;
      if (high != low && peek() != '}') {
        DGQ_TRY(high, count());
      }
      if (!take('}')) return wrong("a { that begins no {m,n}");
      if (high < low) return wrong("a {m,n} whose n is below m");
    } else if (!take('*')) {
      return part;
    }
    take('?');  // lazy: other matches, the same strings
    if (!ended() && std::string_view("*+?{").find(peek()) != std::string_view::npos)
      return wrong("there is nothing that could be repeated");
    return repeated(std::move(part), low, high);
  }

  Result<std::uint32_t> count() {
    std::uint32_t value = 0;
    if (!is_digit(peek())) return wrong("a { that begins no {m,n}");
    while (is_digit(peek())) {
      value = value * 10 + static_cast<std::uint32_t>(text_[at_] - '0');
      if (value > kMaxPatternCount)
        return error(Errc::unsupported, "a count above " + std::to_string(kMaxPatternCount));
      ++at_;
    }
    return value;
  }

  Result<CodePoints> char_class() {
    ++at_;
    const bool negated = take('^');
    CodePoints points;
    while (!take(']')) {
      if (ended()) return wrong("a [ without its ]");
      DGQ_TRY(const CodePoints low, class_member());
      const bool range = peek() == '-' && peek(1) != ']' && at_ + 1 < text_.size() && is_one(low);
      if (!range) {
        points.insert(points.end(), low.begin(), low.end());
        continue;
      }
      ++at_;
      DGQ_TRY(const CodePoints high, class_member());
      if (!is_one(high) || high[0].first < low[0].first) return wrong("a range in [ ] that has no last one");
      points.emplace_back(low[0].first, high[0].first);
    }
    return negated ? all_but(united(std::move(points))) : united(std::move(points));
  }
  static bool is_one(const CodePoints& points) {
    return points.size() == 1 && points[0].first == points[0].second;
  }

  Result<CodePoints> class_member() {
    if (peek() == '\\') return escape(true);
    const char32_t point = take_character();
    return CodePoints{{point, point}};
  }

  Result<CodePoints> escape(bool in_class) {
    const auto one = [](char32_t point) { return CodePoints{{point, point}}; };
    const auto taken = [&](CodePoints points) {
      at_ += 2;
      return points;
    };
    const char c = peek(1);
    switch (c) {
      case 'd':
        return taken(kDigits);
      case 'D':
        return taken(all_but(kDigits));
      case 'w':
        return taken(kWord);
      case 'W':
        return taken(all_but(kWord));
      case 's':
        return taken(kSpace);
      case 'S':
        return taken(all_but(kSpace));
      case 't':
        return taken(one('\t'));
      case 'n':
        return taken(one('\n'));
      case 'r':
        return taken(one('\r'));
      case 'f':
        return taken(one('\f'));
      case 'v':
        return taken(one('\v'));
      case '0':
        if (is_digit(peek(2))) return refuse("an octal escape");
        return taken(one(0));
      case 'x':
        return numbered(2);
      case 'u':
        return numbered(4);
      default:
        break;
    }
    if (c == 'b' && in_class) return taken(one('\b'));
    const bool punctuation =
        c > ' ' && c < 0x7F && !is_digit(c) && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && c != '_';
    if (punctuation) return taken(one(static_cast<char32_t>(c)));
    if (at_ + 1 == text_.size()) return wrong("a \\ at the end");
    return refuse(static_cast<unsigned char>(c) < 0x80 ? "\\" + std::string(1, c) : "this escape");
  }

  std::optional<char32_t> hex(std::size_t from, std::size_t digits) const {
    char32_t value = 0;
    for (std::size_t i = from; i < from + digits; ++i) {
      const char c = peek(i);
      const char lower = static_cast<char>(c | 0x20);
      if (!is_digit(c) && !(lower >= 'a' && lower <= 'f')) return std::nullopt;
      value = value * 16 + static_cast<char32_t>(is_digit(c) ? c - '0' : lower - 'a' + 10);
    }
    return value;
  }

  // \xHH or \uHHHH; two of these for what is beyond U+FFFF.
  Result<CodePoints> numbered(std::size_t digits) {
    const auto point = hex(2, digits);
    if (!point) return wrong("an escape without its hexadecimal digits");
    char32_t value = *point;
    at_ += 2 + digits;
    if (value >= 0xD800 && value < 0xDC00 && peek() == '\\' && peek(1) == 'u') {
      const auto second = hex(2, 4);
      if (second && *second >= 0xDC00 && *second <= kLastSurrogate) {
        value = 0x10000 + ((value - 0xD800) << 10) + (*second - 0xDC00);
        at_ += 6;
      }
    }
    if (value >= kFirstSurrogate && value <= kLastSurrogate)
      return refuse("a surrogate without its other half");
    return CodePoints{{value, value}};
  }

  const std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

Result<PatternNode> parse_pattern(std::string_view pattern) {
  if (pattern.size() > kMaxPatternBytes)
    return Error{Errc::unsupported, "it is longer than " + std::to_string(kMaxPatternBytes) + " bytes"};
  return Parser(pattern).whole();
}

PatternNode any_string(std::uint32_t low, std::uint32_t high) {
  return repeated(set_of(all_but({})), low, high);
}

}  // namespace dgq
