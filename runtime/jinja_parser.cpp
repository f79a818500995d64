#include "runtime/jinja_parser.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "runtime/jinja_lexer.h"
#include "runtime/tokenizer_utf8.h"

namespace dgq::jinja {
namespace {

using Kind = Token::Kind;

constexpr int kMaxDepth = 100, kMaxHeight = 250;  // of the parser's recursion, of the evaluator's

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

struct Nesting {
  explicit Nesting(int& depth) : depth_(depth) { ++depth_; }
  ~Nesting() { --depth_; }
  int& depth_;
};

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  Result<Body> run() {
    DGQ_TRY(Body body, statements({}));
    return body;
  }

 private:
  using Ends = std::vector<const char*>;

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
    if (peek().kind != Kind::name || kReserved.contains(peek().text)) return unexpected(what);
    return take().text;
  }
  Result<void> not_too_deep() const {
    if (depth_ <= kMaxDepth) return {};
    return unsupported("nesting deeper than " + std::to_string(kMaxDepth));
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

  // Up to a tag of these names, which is left where it is: "{%" was taken. Without names: to the end of the text.
  Result<Body> statements(const Ends& ends) {
    const Nesting nesting(depth_);
    DGQ_CHECK(not_too_deep());
    Body body;
    while (true) {
      const Token& token = peek();
      if (token.kind == Kind::end) {
        if (ends.empty()) return body;
        return error(std::string("the template ends before {% ") + ends.back() + " %}");
      }
      take();
      if (token.kind == Kind::text) {
        Stmt stmt{Stmt::Kind::text, token.line};
        stmt.value = Value::own(token.text);
        body.push_back(std::move(stmt));
      } else if (token.kind == Kind::output_begin) {
        Stmt stmt{Stmt::Kind::output, token.line};
        DGQ_TRY(stmt.expr, expression());
        DGQ_CHECK(expect(Kind::output_end, "}}"));
        body.push_back(std::move(stmt));
      } else {  // tag_begin
        if (std::any_of(ends.begin(), ends.end(), [&](const char* end) { return is_word(end); })) return body;
        DGQ_CHECK(statement(body));
      }
    }
  }
  Result<void> end_of_tag() { return expect(Kind::tag_end, "%}"); }
  Result<void> end_tag(const char* word) {
    if (!take_word(word)) return unexpected(word);
    return end_of_tag();
  }

  Result<void> statement(Body& body) {
    if (peek().kind != Kind::name) return unexpected("the name of a statement");
    const Token word = take();
    if (word.text == "if") return condition(body, word.line);
    if (word.text == "for") return loop(body, word.line);
    if (word.text == "set") return set(body, word.line);
    if (word.text == "macro") return macro(body, word.line);
    if (word.text == "break" || word.text == "continue") {
      if (loops_ == 0) return error(word.text + " outside of a loop");
      body.push_back({word.text == "break" ? Stmt::Kind::stop : Stmt::Kind::next, word.line});
      return end_of_tag();
    }
    if (word.text == "generation") {  // marks for training what the assistant says
      DGQ_CHECK(end_of_tag());
      DGQ_TRY(Body inner, statements({"endgeneration"}));
      std::move(inner.begin(), inner.end(), std::back_inserter(body));
      return end_tag("endgeneration");
    }
    return error_at(word.line, Errc::unsupported,
                    "the statement " + in_quotes(word.text) + " is not supported");
  }

  Result<void> condition(Body& body, int line) {
    Stmt stmt{Stmt::Kind::condition, line};
    DGQ_TRY(ExprPtr when, expression());
    while (true) {
      DGQ_CHECK(end_of_tag());
      const bool last = !when;
      DGQ_TRY(Body inner, statements(last ? Ends{"endif"} : Ends{"elif", "else", "endif"}));
      stmt.branches.emplace_back(std::move(when), std::move(inner));
      when = nullptr;
      if (take_word("endif")) break;
      if (take_word("elif")) {
        DGQ_TRY(when, expression());
      } else {
        take();  // else
      }
    }
    DGQ_CHECK(end_of_tag());
    body.push_back(std::move(stmt));
    return {};
  }

  Result<std::vector<std::string>> targets() {
    std::vector<std::string> names;
    const bool bracket = take_symbol("(");
    do {
      DGQ_TRY(std::string one, name("a name"));
      names.push_back(std::move(one));
    } while (take_symbol(","));
    if (bracket) DGQ_CHECK(expect(")"));
    return names;
  }

  Result<void> loop(Body& body, int line) {
    Stmt stmt{Stmt::Kind::loop, line};
    DGQ_TRY(stmt.targets, targets());
    if (!take_word("in")) return unexpected("in");
    DGQ_TRY(stmt.expr, disjunction());
    if (take_word("if")) {
      DGQ_TRY(stmt.filter, expression());
    }
    if (is_word("recursive")) return unsupported("a recursive loop");
    DGQ_CHECK(end_of_tag());
    ++loops_;
    DGQ_TRY(stmt.body, statements({"else", "endfor"}));
    --loops_;
    if (take_word("else")) {
      DGQ_CHECK(end_of_tag());
      DGQ_TRY(stmt.otherwise, statements({"endfor"}));
    }
    DGQ_CHECK(end_tag("endfor"));
    body.push_back(std::move(stmt));
    return {};
  }

  Result<void> set(Body& body, int line) {
    Stmt stmt{Stmt::Kind::set, line};
    if (peek().kind == Kind::name && is_symbol(".", 1)) {
      stmt.kind = Stmt::Kind::set_member;
      DGQ_TRY(std::string owner, name("a name"));
      take();
      DGQ_TRY(std::string member, name("a name"));
      stmt.targets = {std::move(owner), std::move(member)};
    } else {
      DGQ_TRY(stmt.targets, targets());
    }
    if (take_symbol("=")) {
      DGQ_TRY(stmt.expr, tuple());
      DGQ_CHECK(end_of_tag());
    } else {
      if (is_symbol("|")) return unsupported("a filter in {% set %}");
      if (stmt.kind != Stmt::Kind::set || stmt.targets.size() != 1) return unexpected("'='");
      stmt.kind = Stmt::Kind::set_block;
      DGQ_CHECK(end_of_tag());
      DGQ_TRY(stmt.body, statements({"endset"}));
      DGQ_CHECK(end_tag("endset"));
    }
    body.push_back(std::move(stmt));
    return {};
  }

  Result<void> macro(Body& body, int line) {
    Stmt stmt{Stmt::Kind::macro, line};
    DGQ_TRY(std::string own, name("the macro's name"));
    stmt.targets = {std::move(own)};
    DGQ_CHECK(expect("("));
    while (!take_symbol(")")) {
      if (!stmt.named.empty()) DGQ_CHECK(expect(","));
      DGQ_TRY(std::string parameter, name("a parameter's name"));
      ExprPtr fallback;
      if (take_symbol("=")) {
        DGQ_TRY(fallback, expression());
      }
      stmt.named.emplace_back(std::move(parameter), std::move(fallback));
    }
    DGQ_CHECK(end_of_tag());
    const int loops = std::exchange(loops_, 0);
    DGQ_TRY(stmt.body, statements({"endmacro"}));
    loops_ = loops;
    DGQ_CHECK(end_tag("endmacro"));
    body.push_back(std::move(stmt));
    return {};
  }

  // Expressions, the loosest first.
  Result<ExprPtr> tuple() {
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

  Result<ExprPtr> expression() {
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
      value =
          make_of(Expr::Kind::conditional, at, {}, std::move(value), std::move(when), std::move(otherwise));
    }
    if (value->height > kMaxHeight)
      return unsupported("an expression of over " + std::to_string(kMaxHeight) + " levels");
    return value;
  }

  using Level = Result<ExprPtr> (Parser::*)();
  Result<ExprPtr> chain(Level next, std::initializer_list<const char*> operators) {
    DGQ_TRY(ExprPtr left, (this->*next)());
    int links = 0;
    while (true) {
      const auto is_next = [&](const char* op) { return is_symbol(op) || is_word(op); };
      const auto op = std::find_if(operators.begin(), operators.end(), is_next);
      if (op == operators.end()) return left;
      if (++links > kMaxDepth)
        return unsupported("a chain of over " + std::to_string(kMaxDepth) + " operators");
      const int at = take().line;
      DGQ_TRY(ExprPtr right, (this->*next)());
      left = make_of(Expr::Kind::binary, at, *op, std::move(left), std::move(right));
    }
  }
  Result<ExprPtr> disjunction() { return chain(&Parser::conjunction, {"or"}); }
  Result<ExprPtr> conjunction() { return chain(&Parser::negation, {"and"}); }
  Result<ExprPtr> negation() {
    if (!is_word("not")) return comparison();
    const Nesting nesting(depth_);
    DGQ_CHECK(not_too_deep());
    const int at = take().line;
    DGQ_TRY(ExprPtr operand, negation());
    return make_of(Expr::Kind::negation, at, {}, std::move(operand));
  }
  Result<ExprPtr> comparison() {
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
  Result<ExprPtr> sum() { return chain(&Parser::joined, {"+", "-"}); }
  Result<ExprPtr> joined() { return chain(&Parser::product, {"~"}); }
  Result<ExprPtr> product() { return chain(&Parser::power, {"*", "/", "//", "%"}); }
  Result<ExprPtr> power() { return chain(&Parser::filtered, {"**"}); }

  Result<ExprPtr> filtered() { return unary(true); }
  Result<ExprPtr> unary(bool with_filters) {
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

  Result<ExprPtr> primary() {
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
        if (kReserved.contains(token.text)) break;
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

  Result<ExprPtr> bracket(int at) {
    if (take_symbol(")")) return make(Expr::Kind::list, at);
    DGQ_TRY(ExprPtr inner, tuple());
    DGQ_CHECK(expect(")"));
    return inner;
  }
  Result<ExprPtr> list(int at) {
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
  Result<ExprPtr> dict(int at) {
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

  Result<ExprPtr> postfix(ExprPtr value, bool with_filters) {
    for (int links = 0;; ++links) {
      if (links > kMaxDepth) return unsupported("a chain of over " + std::to_string(kMaxDepth) + " calls");
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

  Result<ExprPtr> subscript(ExprPtr value, int at) {
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

  Result<void> arguments(Expr& call) {
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

  Result<ExprPtr> test(ExprPtr value, int at) {
    const bool negated = take_word("not");
    if (peek().kind != Kind::name) return unexpected("a test");
    ExprPtr made = make_of(Expr::Kind::test, at, take().text, std::move(value));
    if (!is_test(made->text))
      return error("the test " + in_quotes(made->text) + " is not supported", Errc::unsupported);
    const Token& next = peek();
    const bool starts_value =
        next.kind == Kind::string || next.kind == Kind::integer || next.kind == Kind::real ||
        (next.kind == Kind::name && !kReserved.contains(next.text)) || is_symbol("[") || is_symbol("{");
    if (take_symbol("(")) {
      DGQ_CHECK(arguments(*made));
    } else if (starts_value) {
      DGQ_TRY(ExprPtr argument, unary(false));
      add(*made, std::move(argument));
    }
    if (negated) made = make_of(Expr::Kind::negation, at, {}, std::move(made));
    return made;
  }

  const std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int depth_ = 0, loops_ = 0;
};

}  // namespace

bool is_filter(std::string_view name) { return kFilters.contains(name); }
bool is_test(std::string_view name) { return kTests.contains(name); }

Result<Body> parse_template(std::string_view text) {
  DGQ_TRY(std::vector<Token> tokens, read_tokens(text));
  return Parser(std::move(tokens)).run();
}

}  // namespace dgq::jinja
