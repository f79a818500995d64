#include "runtime/jinja_parser.h"

#include "runtime/jinja_expressions.h"

namespace dgq::jinja {
namespace {

class Parser : ExpressionParser {
 public:
  explicit Parser(std::vector<Token> tokens) : ExpressionParser(std::move(tokens)) {}

  Result<Body> run() {
    DGQ_TRY(Body body, statements({}));
    return body;
  }

 private:
  using Ends = std::vector<const char*>;

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

  int loops_ = 0;
};

}  // namespace

Result<Body> parse_template(std::string_view text) {
  DGQ_TRY(std::vector<Token> tokens, read_tokens(text));
  return Parser(std::move(tokens)).run();
}

}  // namespace dgq::jinja
