#include "runtime/jinja_expressions.h"

#include <charconv>
#include <set>

namespace dgq::jinja {
namespace {

constexpr int kMaxHeight = 250;  // of the evaluator's recursion
constexpr int kMaxLinks = 100;   // of a chain of operators or calls

const std::set<std::string_view> kFilters = {
    "abs",    "capitalize", "count",      "d",       "default", "dictsort", "first",  "float",      "indent",
    "int",    "items",      "join",       "last",    "length",  "list",     "lower",  "map",        "max",
    "min",    "reject",     "rejectattr", "replace", "reverse", "safe",     "select", "selectattr", "sort",
    "string", "sum",        "title",      "tojson",  "trim",    "unique",   "upper"};
const std::set<std::string_view> kTests = {
    "==",          "!=",      "<",        "<=",     ">",        ">=",     "boolean", "callable",    "defined",
    "divisibleby", "eq",      "equalto",  "even",   "false",    "float",  "ge",      "greaterthan", "gt",
    "in",          "integer", "iterable", "le",     "lessthan", "lower",  "lt",      "mapping",     "ne",
    "none",        "number",  "odd",      "sameas", "sequence", "string", "true",    "undefined",   "upper"};
const std::set<std::string_view> kReserved = {"and",  "or",   "not",   "in",  "is",    "if",
                                              "else", "elif", "endif", "for", "endfor"};

}  // namespace

bool ExpressionParser::is_reserved(std::string_view name) {
  return kReserved.contains(name);
}

// Expressions, the loosest first.
Result<ExprPtr> ExpressionParser::tuple() {
  DGQ_TRY(ExprPtr first, expression());
  if (!is_symbol(",")) return first;
  ExprPtr list = make(Expr::Kind::list, first->line);
  add(*list, std::move(first));
  while (take_symbol(",")) {
    if (peek().kind == Kind::tag_end || is_symbol(")")) break;
    DGQ_TRY(ExprPtr next, expression());
    add(*list, std::move(next));
  }
  return list;
}

Result<ExprPtr> ExpressionParser::expression() {
  const Nesting nesting(depth_);
  DGQ_CHECK(not_too_deep());
  DGQ_TRY(ExprPtr value, disjunction());
  while (is_word("if")) {
    const int at = take().line;
    DGQ_TRY(ExprPtr when, disjunction());
    ExprPtr otherwise;
    if (take_word("else")) {
      DGQ_TRY(otherwise, expression());
    }
    value = make_of(Expr::Kind::conditional, at, {}, std::move(value), std::move(when), std::move(otherwise));
  }
  if (value->height > kMaxHeight)
    return unsupported("an expression of over " + std::to_string(kMaxHeight) + " levels");
  return value;
}

Result<ExprPtr> ExpressionParser::chain(Level next, std::initializer_list<const char*> operators) {
  DGQ_TRY(ExprPtr left, (this->*next)());
  int links = 0;
  while (true) {
    const auto is_next = [&](const char* op) { return is_symbol(op) || is_word(op); };
    const auto op = std::find_if(operators.begin(), operators.end(), is_next);
    if (op == operators.end()) return left;
    if (++links > kMaxLinks)
      return unsupported("a chain of over " + std::to_string(kMaxLinks) + " operators");
    const int at = take().line;
    DGQ_TRY(ExprPtr right, (this->*next)());
    left = make_of(Expr::Kind::binary, at, *op, std::move(left), std::move(right));
  }
}
Result<ExprPtr> ExpressionParser::disjunction() { return chain(&ExpressionParser::conjunction, {"or"}); }
Result<ExprPtr> ExpressionParser::conjunction() { return chain(&ExpressionParser::negation, {"and"}); }
Result<ExprPtr> ExpressionParser::negation() {
  if (!is_word("not")) return comparison();
  const Nesting nesting(depth_);
  DGQ_CHECK(not_too_deep());
  const int at = take().line;
  DGQ_TRY(ExprPtr operand, negation());
  return make_of(Expr::Kind::negation, at, {}, std::move(operand));
}
Result<ExprPtr> ExpressionParser::comparison() {
  DGQ_TRY(ExprPtr left, sum());
  ExprPtr all;
  while (true) {
    std::string op;
    for (const char* one : {"==", "!=", "<", "<=", ">", ">="})
      if (is_symbol(one)) op = one;
    if (is_word("in")) op = "in";
    if (is_word("not") && is_word("in", 1)) op = "not in";
    if (op.empty()) return all ? std::move(all) : std::move(left);
    const int at = take().line;
    if (op == "not in") take();
    if (!all) all = make_of(Expr::Kind::comparison, at, {}, std::move(left));
    DGQ_TRY(ExprPtr right, sum());
    add(*all, std::move(right));
    all->operators.push_back(op);
  }
}
Result<ExprPtr> ExpressionParser::sum() { return chain(&ExpressionParser::joined, {"+", "-"}); }
Result<ExprPtr> ExpressionParser::joined() { return chain(&ExpressionParser::product, {"~"}); }
Result<ExprPtr> ExpressionParser::product() { return chain(&ExpressionParser::power, {"*", "/", "//", "%"}); }
Result<ExprPtr> ExpressionParser::power() { return chain(&ExpressionParser::filtered, {"**"}); }

Result<ExprPtr> ExpressionParser::filtered() { return unary(true); }
Result<ExprPtr> ExpressionParser::unary(bool with_filters) {
  const Nesting nesting(depth_);
  DGQ_CHECK(not_too_deep());
  ExprPtr value;
  if (is_symbol("-") || is_symbol("+")) {
    const Token sign = take();
    DGQ_TRY(ExprPtr operand, unary(false));
    value = make_of(Expr::Kind::unary, sign.line, sign.text, std::move(operand));
  } else {
    DGQ_TRY(value, primary());
  }
  DGQ_TRY(value, postfix(std::move(value), with_filters));
  return value;
}

Result<ExprPtr> ExpressionParser::primary() {
  const Token token = take();
  switch (token.kind) {
    case Kind::string: {
      std::string text = token.text;
      while (peek().kind == Kind::string) text += take().text;
      return constant(token.line, Value::own(std::move(text)));
    }
    case Kind::integer: {
      std::int64_t value = 0;
      std::from_chars(token.text.data(), token.text.data() + token.text.size(), value);
      return constant(token.line, value);
    }
    case Kind::real: {
      double value = 0;
      std::from_chars(token.text.data(), token.text.data() + token.text.size(), value);
      return constant(token.line, value);
    }
    case Kind::name:
      if (token.text == "true" || token.text == "True") return constant(token.line, true);
      if (token.text == "false" || token.text == "False") return constant(token.line, false);
      if (token.text == "none" || token.text == "None") return constant(token.line, None{});
      if (is_reserved(token.text)) break;
      return make(Expr::Kind::name, token.line, token.text);
    case Kind::symbol:
      if (token.text == "(") return bracket(token.line);
      if (token.text == "[") return list(token.line);
      if (token.text == "{") return dict(token.line);
      break;
    default:
      break;
  }
  if (at_ > 0 && token.kind != Kind::end) --at_;
  return unexpected("an expression");
}

Result<ExprPtr> ExpressionParser::bracket(int at) {
  if (take_symbol(")")) return make(Expr::Kind::list, at);
  DGQ_TRY(ExprPtr inner, tuple());
  DGQ_CHECK(expect(")"));
  return inner;
}
Result<ExprPtr> ExpressionParser::list(int at) {
  ExprPtr made = make(Expr::Kind::list, at);
  while (!take_symbol("]")) {
    if (!made->parts.empty()) {
      DGQ_CHECK(expect(","));
      if (take_symbol("]")) break;
    }
    DGQ_TRY(ExprPtr element, expression());
    add(*made, std::move(element));
  }
  return made;
}
Result<ExprPtr> ExpressionParser::dict(int at) {
  ExprPtr made = make(Expr::Kind::dict, at);
  while (!take_symbol("}")) {
    if (!made->parts.empty()) {
      DGQ_CHECK(expect(","));
      if (take_symbol("}")) break;
    }
    DGQ_TRY(ExprPtr key, expression());
    DGQ_CHECK(expect(":"));
    DGQ_TRY(ExprPtr value, expression());
    add(*made, std::move(key));
    add(*made, std::move(value));
  }
  return made;
}

Result<ExprPtr> ExpressionParser::postfix(ExprPtr value, bool with_filters) {
  for (int links = 0;; ++links) {
    if (links > kMaxLinks) return unsupported("a chain of over " + std::to_string(kMaxLinks) + " calls");
    const int at = line();
    if (take_symbol(".")) {
      if (peek().kind == Kind::integer) return unsupported("an index after '.'");
      if (peek().kind != Kind::name) return unexpected("a name");
      value = make_of(Expr::Kind::attribute, at, take().text, std::move(value));
    } else if (take_symbol("[")) {
      DGQ_TRY(value, subscript(std::move(value), at));
    } else if (take_symbol("(")) {
      value = make_of(Expr::Kind::call, at, {}, std::move(value));
      DGQ_CHECK(arguments(*value));
    } else if (with_filters && take_symbol("|")) {
      if (peek().kind != Kind::name) return unexpected("a filter");
      value = make_of(Expr::Kind::filter, at, take().text, std::move(value));
      if (!is_filter(value->text))
        return error("the filter " + in_quotes(value->text) + " is not supported", Errc::unsupported);
      if (take_symbol("(")) DGQ_CHECK(arguments(*value));
    } else if (with_filters && take_word("is")) {
      DGQ_TRY(value, test(std::move(value), at));
    } else {
      return value;
    }
  }
}

Result<ExprPtr> ExpressionParser::subscript(ExprPtr value, int at) {
  ExprPtr bounds[3];
  int count = 0;  // of colons
  bool slice = false;
  while (!is_symbol("]")) {
    if (take_symbol(":")) {
      slice = true;
      if (++count > 2) return unexpected("']'");
      continue;
    }
    if (bounds[count]) return unexpected("']'");
    DGQ_TRY(bounds[count], expression());
  }
  take();
  if (slice)
    return make_of(Expr::Kind::slice, at, {}, std::move(value), std::move(bounds[0]), std::move(bounds[1]),
                   std::move(bounds[2]));
  if (!bounds[0]) return unexpected("an index");
  return make_of(Expr::Kind::subscript, at, {}, std::move(value), std::move(bounds[0]));
}

Result<void> ExpressionParser::arguments(Expr& call) {
  bool first = true;
  while (!take_symbol(")")) {
    if (!first) {
      DGQ_CHECK(expect(","));
      if (take_symbol(")")) break;
    }
    first = false;
    if (is_symbol("*") || is_symbol("**")) return unsupported("unpacking of arguments");
    if (peek().kind == Kind::name && is_symbol("=", 1)) {
      std::string keyword = take().text;
      take();
      DGQ_TRY(ExprPtr value, expression());
      call.height = std::max(call.height, value->height + 1);
      call.named.emplace_back(std::move(keyword), std::move(value));
    } else {
      DGQ_TRY(ExprPtr value, expression());
      add(call, std::move(value));
    }
  }
  return {};
}

Result<ExprPtr> ExpressionParser::test(ExprPtr value, int at) {
  const bool negated = take_word("not");
  if (peek().kind != Kind::name) return unexpected("a test");
  ExprPtr made = make_of(Expr::Kind::test, at, take().text, std::move(value));
  if (!is_test(made->text))
    return error("the test " + in_quotes(made->text) + " is not supported", Errc::unsupported);
  const Token& next = peek();
  const bool starts_value = next.kind == Kind::string || next.kind == Kind::integer ||
                            next.kind == Kind::real || (next.kind == Kind::name && !is_reserved(next.text)) ||
                            is_symbol("[") || is_symbol("{");
  if (take_symbol("(")) {
    DGQ_CHECK(arguments(*made));
  } else if (starts_value) {
    DGQ_TRY(ExprPtr argument, unary(false));
    add(*made, std::move(argument));
  }
  if (negated) made = make_of(Expr::Kind::negation, at, {}, std::move(made));
  return made;
}

bool is_filter(std::string_view name) { return kFilters.contains(name); }
bool is_test(std::string_view name) { return kTests.contains(name); }

}  // namespace dgq::jinja
