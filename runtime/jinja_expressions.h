// runtime/jinja_expressions.h - the part of the parser that reads expressions. Internal to jinja_*.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "runtime/jinja_lexer.h"
#include "runtime/jinja_parser.h"
#include "runtime/tokenizer_utf8.h"

namespace dgq::jinja {

inline constexpr int kMaxParserDepth = 100;  // of its recursion

// While it lives, the parser is one level deeper.
struct Nesting {
  explicit Nesting(int& depth) : depth_(depth) { ++depth_; }
  ~Nesting() { --depth_; }
  int& depth_;
};

class ExpressionParser {
 protected:
  using Kind = Token::Kind;

  explicit ExpressionParser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  Result<ExprPtr> tuple();  // or a single expression
  Result<ExprPtr> expression();
  Result<ExprPtr> disjunction();  // an expression without `if`

  const Token& peek(std::size_t ahead = 0) const {
    return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
  }
  const Token& take() { return at_ + 1 < tokens_.size() ? tokens_[at_++] : tokens_.back(); }
  int line() const { return peek().line; }
  bool is_symbol(std::string_view text, std::size_t ahead = 0) const {
    return peek(ahead).kind == Kind::symbol && peek(ahead).text == text;
  }
  bool is_word(std::string_view text, std::size_t ahead = 0) const {
    return peek(ahead).kind == Kind::name && peek(ahead).text == text;
  }
  bool take_symbol(std::string_view text) { return is_symbol(text) && (take(), true); }
  bool take_word(std::string_view text) { return is_word(text) && (take(), true); }
  Error error(const std::string& what, Errc code = Errc::invalid) const {
    return error_at(line(), code, what);
  }
  Error unsupported(const std::string& what) const {
    return error(what + " is not supported", Errc::unsupported);
  }
  Error unexpected(const std::string& wanted) const {
    const Token& token = peek();
    const bool named = token.kind == Kind::name || token.kind == Kind::symbol || token.kind == Kind::string;
    return error("expected " + wanted + (named ? ", not " + in_quotes(token.text) : std::string()));
  }
  Result<void> expect(std::string_view symbol) {
    if (take_symbol(symbol)) return {};
    return unexpected("'" + std::string(symbol) + "'");
  }
  Result<void> expect(Kind kind, const char* what) {
    if (peek().kind != kind) return unexpected(what);
    take();
    return {};
  }
  Result<std::string> name(const char* what) {
    if (peek().kind != Kind::name || is_reserved(peek().text)) return unexpected(what);
    return take().text;
  }
  Result<void> not_too_deep() const {
    if (depth_ <= kMaxParserDepth) return {};
    return unsupported("nesting deeper than " + std::to_string(kMaxParserDepth));
  }

  static ExprPtr make(Expr::Kind kind, int line, std::string text = {}) {
    auto expr = std::make_unique<Expr>();
    expr->kind = kind, expr->line = line, expr->text = std::move(text);
    return expr;
  }
  template <class... Parts>
  static ExprPtr make_of(Expr::Kind kind, int line, std::string text, Parts... parts) {
    ExprPtr expr = make(kind, line, std::move(text));
    (add(*expr, std::move(parts)), ...);
    return expr;
  }
  static void add(Expr& expr, ExprPtr part) {
    if (part) expr.height = std::max(expr.height, part->height + 1);
    expr.parts.push_back(std::move(part));
  }
  static ExprPtr constant(int line, Value value) {
    ExprPtr expr = make(Expr::Kind::constant, line);
    expr->value = std::move(value);
    return expr;
  }

  int depth_ = 0;

 private:
  using Level = Result<ExprPtr> (ExpressionParser::*)();
  Result<ExprPtr> chain(Level next, std::initializer_list<const char*> operators);
  Result<ExprPtr> conjunction();
  Result<ExprPtr> negation();
  Result<ExprPtr> comparison();
  Result<ExprPtr> sum();
  Result<ExprPtr> joined();
  Result<ExprPtr> product();
  Result<ExprPtr> power();
  Result<ExprPtr> filtered();
  Result<ExprPtr> unary(bool with_filters);
  Result<ExprPtr> primary();
  Result<ExprPtr> bracket(int at);
  Result<ExprPtr> list(int at);
  Result<ExprPtr> dict(int at);
  Result<ExprPtr> postfix(ExprPtr value, bool with_filters);
  Result<ExprPtr> subscript(ExprPtr value, int at);
  Result<void> arguments(Expr& call);
  Result<ExprPtr> test(ExprPtr value, int at);

  static bool is_reserved(std::string_view name);

  const std::vector<Token> tokens_;
  std::size_t at_ = 0;
};

}  // namespace dgq::jinja
