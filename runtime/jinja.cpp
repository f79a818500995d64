#include "runtime/jinja.h"

#include <map>

#include "runtime/jinja_calls.h"
#include "runtime/jinja_parser.h"
#include "runtime/tokenizer_utf8.h"

namespace dgq {
namespace jinja {
namespace {

class Renderer {
 public:
  Renderer(std::int64_t now_unix_s, const JinjaLimits& limits)
      : now_unix_s_(now_unix_s), limits_(limits), budget_(limits), scopes_(1) {}

  void define(const OrderedJson& variables, bool data) {
    for (const auto& [name, value] : variables.items()) scopes_[0][name] = from_json(value, data);
  }

  Result<Text> render(const Body& body) {
    Text out;
    out_ = &out;
    DGQ_TRY(const Flow flow, run(body));
    static_cast<void>(flow);  // break and continue stand in loops only
    return out;
  }

 private:
  using Scope = std::map<std::string, Value, std::less<>>;
  enum class Flow { on, stop, next };

  Error at(int line, const Error& error) const {
    return error.what.starts_with("line ") ? error : error_at(line, error.code, error.what);
  }
  template <class T>
  Result<T> at(int line, Result<T> result) const {
    if (!result) return at(line, result.error());
    return result;
  }
  static Error invalid(int line, const std::string& what) { return error_at(line, Errc::invalid, what); }

  const Value* find(std::string_view name) const {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope)
      if (const auto found = scope->find(name); found != scope->end()) return &found->second;
    return nullptr;
  }

  Result<void> write(const Text& text, int line) {
    DGQ_CHECK(at(line, budget_.bytes(text.bytes.size())));
    out_->append(text);
    if (out_->bytes.size() <= limits_.output_bytes) return {};
    return error_at(line, Errc::unsupported,
                    "the rendered text is longer than " + std::to_string(limits_.output_bytes) + " bytes");
  }

  Result<Flow> run(const Body& body) {
    for (const Stmt& stmt : body) {
      DGQ_CHECK(at(stmt.line, budget_.steps(1)));
      DGQ_TRY(const Flow flow, run(stmt));
      if (flow != Flow::on) return flow;
    }
    return Flow::on;
  }

  Result<Flow> run(const Stmt& stmt) {
    switch (stmt.kind) {
      case Stmt::Kind::text:
        DGQ_CHECK(write(*stmt.value.text(), stmt.line));
        return Flow::on;
      case Stmt::Kind::output: {
        DGQ_TRY(const Value value, eval(*stmt.expr));
        DGQ_CHECK(write(to_text(value), stmt.line));
        return Flow::on;
      }
      case Stmt::Kind::condition:
        for (const auto& [when, body] : stmt.branches) {
          bool taken = true;
          if (when) {
            DGQ_TRY(const Value value, eval(*when));
            taken = value.truth();
          }
          if (taken) return run(body);
        }
        return Flow::on;
      case Stmt::Kind::loop:
        return loop(stmt);
      case Stmt::Kind::set: {
        DGQ_TRY(Value value, eval(*stmt.expr));
        DGQ_CHECK(assign(stmt, std::move(value)));
        return Flow::on;
      }
      case Stmt::Kind::set_member: {
        const Value* owner = find(stmt.targets[0]);
        const Namespace* names = owner ? owner->get<Namespace>() : nullptr;
        if (!names)
          return invalid(stmt.line, "only members of a namespace can be set, and " +
                                        in_quotes(stmt.targets[0]) + " is none");
        const std::shared_ptr<Dict> members = names->members;
        DGQ_TRY(Value value, eval(*stmt.expr));
        // A namespace inside itself would never be freed, and never printed.
        if (value.get<Namespace>())
          return error_at(stmt.line, Errc::unsupported, "a namespace in a namespace is not supported");
        members->set(Text::own(stmt.targets[1]), std::move(value));
        return Flow::on;
      }
      case Stmt::Kind::set_block: {
        DGQ_TRY(Text text, captured(stmt.body));
        scopes_.back()[stmt.targets[0]] = std::move(text);
        return Flow::on;
      }
      case Stmt::Kind::macro:
        scopes_.back()[stmt.targets[0]] = Function{&stmt, {}};
        return Flow::on;
      case Stmt::Kind::stop:
        return Flow::stop;
      case Stmt::Kind::next:
        return Flow::next;
    }
    return Flow::on;
  }

  Result<Text> captured(const Body& body) {
    Text text;
    Text* const outer = std::exchange(out_, &text);
    const auto flow = run(body);
    out_ = outer;
    if (!flow) return flow.error();
    return text;
  }

  Result<void> assign(const Stmt& stmt, Value value) {
    if (stmt.targets.size() == 1) {
      scopes_.back()[stmt.targets[0]] = std::move(value);
      return {};
    }
    DGQ_TRY(const List parts, at(stmt.line, elements(value, budget_)));
    if (parts.size() != stmt.targets.size())
      return invalid(stmt.line, "cannot give " + std::to_string(parts.size()) + " values to " +
                                    std::to_string(stmt.targets.size()) + " names");
    for (std::size_t i = 0; i < parts.size(); ++i) scopes_.back()[stmt.targets[i]] = parts[i];
    return {};
  }

  Result<Flow> loop(const Stmt& stmt) {
    DGQ_TRY(const Value over, eval(*stmt.expr));
    DGQ_TRY(List items, at(stmt.line, elements(over, budget_)));
    if (stmt.filter) {
      List kept;
      for (const Value& item : items) {
        scopes_.emplace_back();
        const auto assigned = assign(stmt, item);
        const auto wanted = assigned ? eval(*stmt.filter) : Result<Value>(assigned.error());
        scopes_.pop_back();
        if (!wanted) return wanted.error();
        if (wanted->truth()) kept.push_back(item);
      }
      items = std::move(kept);
    }
    if (items.empty()) return run(stmt.otherwise);
    for (std::size_t i = 0; i < items.size(); ++i) {
      DGQ_CHECK(at(stmt.line, budget_.steps(10)));  // `loop` is made anew
      scopes_.emplace_back();
      scopes_.back()["loop"] = loop_variable(items, i);
      const auto assigned = assign(stmt, items[i]);
      const auto flow = assigned ? run(stmt.body) : Result<Flow>(assigned.error());
      scopes_.pop_back();
      if (!flow) return flow;
      if (*flow == Flow::stop) break;
    }
    return Flow::on;
  }

  static Value loop_variable(const List& items, std::size_t i) {
    Dict loop;
    const auto set = [&](const char* name, Value value) {
      loop.members.emplace_back(Text::own(name), std::move(value));
    };
    set("index", Value::size(i + 1));
    set("index0", Value::size(i));
    set("first", Value(i == 0));
    set("last", Value(i + 1 == items.size()));
    set("length", Value::size(items.size()));
    set("revindex", Value::size(items.size() - i));
    set("revindex0", Value::size(items.size() - i - 1));
    set("previtem", i > 0 ? items[i - 1] : Value(Undefined{"loop.previtem"}));
    set("nextitem", i + 1 < items.size() ? items[i + 1] : Value(Undefined{"loop.nextitem"}));
    return Value(std::move(loop));
  }

  Result<Value> eval(const Expr& expr) {
    DGQ_CHECK(at(expr.line, budget_.steps(1)));
    switch (expr.kind) {
      case Expr::Kind::constant:
        return expr.value;
      case Expr::Kind::name: {
        if (const Value* value = find(expr.text)) return *value;
        if (is_function(expr.text)) return Value(Function{nullptr, expr.text});
        return Value(Undefined{expr.text});
      }
      case Expr::Kind::list: {
        DGQ_TRY(List list, eval_all(expr, 0));
        return Value(std::move(list));
      }
      case Expr::Kind::dict:
        return dict(expr);
      case Expr::Kind::attribute: {
        DGQ_TRY(const Value owner, eval(*expr.parts[0]));
        return member(owner, expr.text, expr.line);
      }
      case Expr::Kind::subscript:
        return subscript(expr);
      case Expr::Kind::slice:
        return slice(expr);
      case Expr::Kind::call:
        return call(expr);
      case Expr::Kind::filter: {
        DGQ_TRY(const Value input, eval(*expr.parts[0]));
        DGQ_TRY(const Arguments arguments, arguments_of(expr));
        return at(expr.line, call_filter(expr.text, input, arguments, budget_));
      }
      case Expr::Kind::test: {
        DGQ_TRY(const Value input, eval(*expr.parts[0]));
        DGQ_TRY(const Arguments arguments, arguments_of(expr));
        DGQ_TRY(const bool is_so, at(expr.line, call_test(expr.text, input, arguments)));
        return Value(is_so);
      }
      case Expr::Kind::negation: {
        DGQ_TRY(const Value value, eval(*expr.parts[0]));
        return Value(!value.truth());
      }
      case Expr::Kind::unary: {
        DGQ_TRY(const Value value, eval(*expr.parts[0]));
        const std::int64_t sign = expr.text == "-" ? -1 : 1;
        if (const auto whole = value.integer(); whole && *whole != INT64_MIN) return Value(sign * *whole);
        if (const auto* real = value.get<double>()) return Value(static_cast<double>(sign) * *real);
        return invalid(expr.line,
                       "'" + expr.text + "' does not go with a value of type " + value.type_name());
      }
      case Expr::Kind::binary:
        return binary(expr);
      case Expr::Kind::comparison:
        return comparison(expr);
      case Expr::Kind::conditional: {
        DGQ_TRY(const Value when, eval(*expr.parts[1]));
        if (when.truth()) return eval(*expr.parts[0]);
        return expr.parts[2] ? eval(*expr.parts[2]) : Result<Value>(Value(Undefined{}));
      }
    }
    return Value();
  }

  Result<List> eval_all(const Expr& expr, std::size_t first) {
    List all;
    for (std::size_t i = first; i < expr.parts.size(); ++i) {
      DGQ_TRY(Value value, eval(*expr.parts[i]));
      all.push_back(std::move(value));
    }
    return all;
  }
  Result<Arguments> arguments_of(const Expr& expr) {
    Arguments arguments;
    DGQ_TRY(arguments.values, eval_all(expr, 1));
    for (const auto& [name, part] : expr.named) {
      DGQ_TRY(Value value, eval(*part));
      arguments.named.emplace_back(name, std::move(value));
    }
    return arguments;
  }

  Result<Value> dict(const Expr& expr) {
    Dict made;
    for (std::size_t i = 0; i < expr.parts.size(); i += 2) {
      DGQ_TRY(const Value key, eval(*expr.parts[i]));
      DGQ_TRY(Value value, eval(*expr.parts[i + 1]));
      if (!key.text())
        return error_at(expr.line, Errc::unsupported,
                        "a key of a mapping that is no string is not supported");
      made.set(*key.text(), std::move(value));
    }
    return Value(std::move(made));
  }

  static Result<Value> member(const Value& owner, const std::string& name, int line) {
    if (const auto* undefined = owner.get<Undefined>())
      return invalid(line, (undefined->name.empty() ? "a value" : in_quotes(undefined->name)) +
                               " is undefined, and has no member " + in_quotes(name));
    const Value* found = owner.dict() ? owner.dict()->find(name) : nullptr;
    return found ? *found : Value(Undefined{name});
  }

  Result<Value> subscript(const Expr& expr) {
    DGQ_TRY(const Value owner, eval(*expr.parts[0]));
    DGQ_TRY(const Value key, eval(*expr.parts[1]));
    if (key.text()) return member(owner, key.text()->bytes, expr.line);
    if (owner.is_undefined()) return member(owner, "[]", expr.line);
    return at(expr.line, element(owner, key, budget_));
  }

  Result<Value> slice(const Expr& expr) {
    DGQ_TRY(const Value owner, eval(*expr.parts[0]));
    List bounds(3, None{});
    for (std::size_t i = 0; i < bounds.size(); ++i) {
      if (!expr.parts[i + 1]) continue;
      DGQ_TRY(bounds[i], eval(*expr.parts[i + 1]));
    }
    return at(expr.line, slice_of(owner, bounds, budget_));
  }

  Result<Value> call(const Expr& expr) {
    const Expr& callee = *expr.parts[0];
    if (callee.kind == Expr::Kind::attribute) {
      DGQ_TRY(const Value owner, eval(*callee.parts[0]));
      if (owner.is_undefined()) return member(owner, callee.text, expr.line);
      DGQ_TRY(const Arguments arguments, arguments_of(expr));
      return at(expr.line, call_method(owner, callee.text, arguments, budget_));
    }
    DGQ_TRY(const Value called, eval(callee));
    const Function* function = called.get<Function>();
    if (!function)
      return called.is_undefined() && callee.kind == Expr::Kind::name
                 ? error_at(expr.line, Errc::unsupported,
                            "the function " + in_quotes(callee.text) + " is not supported")
                 : invalid(expr.line,
                           std::string("a value of type ") + called.type_name() + " cannot be called");
    DGQ_TRY(const Arguments arguments, arguments_of(expr));
    if (function->macro) return call_macro(*function->macro, arguments, expr.line);
    return at(expr.line, call_function(function->builtin, arguments, now_unix_s_, budget_));
  }

  // Sees the template's own variables, not those of where it is called from.
  Result<Value> call_macro(const Stmt& macro, const Arguments& arguments, int line) {
    if (macros_ >= limits_.depth)
      return error_at(
          line, Errc::unsupported,
          "macros that call each other deeper than " + std::to_string(limits_.depth) + " are not supported");
    std::vector<Scope> outer(std::make_move_iterator(scopes_.begin() + 1),
                             std::make_move_iterator(scopes_.end()));
    scopes_.resize(1);
    scopes_.emplace_back();
    ++macros_;
    Result<Value> result = run_macro(macro, arguments, line);
    --macros_;
    scopes_.resize(1);
    std::move(outer.begin(), outer.end(), std::back_inserter(scopes_));
    return result;
  }
  Result<Value> run_macro(const Stmt& macro, const Arguments& arguments, int line) {
    if (arguments.values.size() > macro.named.size())
      return invalid(line, "the macro " + in_quotes(macro.targets[0]) + " takes at most " +
                               std::to_string(macro.named.size()) + " arguments");
    for (const auto& [name, value] : arguments.named) {
      bool known = false;
      for (const auto& [parameter, fallback] : macro.named) known = known || parameter == name;
      if (!known)
        return invalid(line,
                       "the macro " + in_quotes(macro.targets[0]) + " takes no argument " + in_quotes(name));
    }
    for (std::size_t i = 0; i < macro.named.size(); ++i) {
      const auto& [name, fallback] = macro.named[i];
      Value value = Undefined{name};
      if (const Value* given = arguments.find(i, name)) {
        value = *given;
      } else if (fallback) {
        DGQ_TRY(value, eval(*fallback));
      }
      scopes_.back()[name] = std::move(value);
    }
    DGQ_TRY(Text text, captured(macro.body));
    return Value(std::move(text));
  }

  Result<Value> binary(const Expr& expr) {
    DGQ_TRY(const Value left, eval(*expr.parts[0]));
    if (expr.text == "and" || expr.text == "or")
      return left.truth() == (expr.text == "or") ? Result<Value>(left) : eval(*expr.parts[1]);
    DGQ_TRY(const Value right, eval(*expr.parts[1]));
    return at(expr.line, call_operator(expr.text, left, right, budget_));
  }

  Result<Value> comparison(const Expr& expr) {
    DGQ_TRY(Value left, eval(*expr.parts[0]));
    for (std::size_t i = 0; i < expr.operators.size(); ++i) {
      const std::string& op = expr.operators[i];
      DGQ_TRY(Value right, eval(*expr.parts[i + 1]));
      bool holds;
      if (op == "in" || op == "not in") {
        DGQ_TRY(holds, at(expr.line, contains(right, left)));
        holds = holds == (op == "in");
      } else {
        Arguments other;
        other.values.push_back(right);
        DGQ_TRY(holds, at(expr.line, call_test(op, left, other)));
      }
      if (!holds) return Value(false);
      left = std::move(right);
    }
    return Value(true);
  }

  const std::int64_t now_unix_s_;
  const JinjaLimits limits_;
  Budget budget_;
  std::vector<Scope> scopes_;  // the template's own first
  Text* out_ = nullptr;
  std::size_t macros_ = 0;
};

}  // namespace
}  // namespace jinja

struct JinjaTemplate::State {
  jinja::Body body;
};

JinjaTemplate::JinjaTemplate(std::unique_ptr<const State> state) : state_(std::move(state)) {}
JinjaTemplate::JinjaTemplate(JinjaTemplate&&) noexcept = default;
JinjaTemplate& JinjaTemplate::operator=(JinjaTemplate&&) noexcept = default;
JinjaTemplate::~JinjaTemplate() = default;

Result<JinjaTemplate> JinjaTemplate::parse(std::string_view text) {
  if (text.size() > kMaxTemplateBytes)
    return Error{Errc::unsupported, "line 1: a template of over " + std::to_string(kMaxTemplateBytes) +
                                        " bytes is not supported"};
  if (find_invalid_utf8(text) != std::string_view::npos)
    return Error{Errc::invalid, "line 1: the template is not UTF-8"};
  DGQ_TRY(jinja::Body body, jinja::parse_template(text));
  return JinjaTemplate(std::make_unique<const State>(State{std::move(body)}));
}

Result<RenderedText> JinjaTemplate::render(const OrderedJson& data, const OrderedJson& own,
                                           std::int64_t now_unix_s, const JinjaLimits& limits) const {
  jinja::Renderer renderer(now_unix_s, limits);
  renderer.define(data, true);
  renderer.define(own, false);  // data cannot take the place of these
  DGQ_TRY(jinja::Text text, renderer.render(state_->body));
  text.from_data.resize(text.bytes.size(), '\0');
  return RenderedText{std::move(text.bytes), std::move(text.from_data)};
}

}  // namespace dgq
