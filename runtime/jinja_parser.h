// runtime/jinja_parser.h - a template as a tree. Internal to jinja_*.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/jinja_value.h"

namespace dgq::jinja {

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;
using Named = std::vector<std::pair<std::string, ExprPtr>>;

struct Expr {
  enum class Kind {
    constant,     // value
    name,         // text
    list,         // parts
    dict,         // parts: key, value, key, value ...
    attribute,    // parts[0].text
    subscript,    // parts[0][parts[1]]
    slice,        // parts[0][parts[1]:parts[2]:parts[3]], null where nothing stands
    call,         // parts[0](parts[1...], named)
    filter,       // parts[0] | text(parts[1...], named)
    test,         // parts[0] is text(parts[1...])
    negation,     // not parts[0]
    unary,        // text: + or -
    binary,       // text: the operator, also "and" and "or"
    comparison,   // parts[0] operators[0] parts[1] operators[1] parts[2] ...
    conditional,  // parts[1] ? parts[0] : parts[2], which may be null
  };
  Kind kind;
  int line;
  int height = 1;  // of the tree below it
  std::string text = {};
  Value value = {};
  std::vector<ExprPtr> parts = {};
  Named named = {};
  std::vector<std::string> operators = {};
};

struct Stmt;
using Body = std::vector<Stmt>;

struct Stmt {
  enum class Kind {
    text,       // value
    output,     // expr
    condition,  // branches: expr or null for else, body
    loop,       // for targets in expr if filter: body, else: otherwise
    set,        // targets = expr, or set_member: targets[0].targets[1] = expr
    set_block,  // targets[0] = the output of body
    macro,      // targets[0](named): body
    stop,       // break
    next,       // continue
    set_member,
  };
  Kind kind;
  int line;
  Value value = {};
  ExprPtr expr = {}, filter = {};
  std::vector<std::string> targets = {};
  Named named = {};  // a macro's parameters; null: without a default
  std::vector<std::pair<ExprPtr, Body>> branches = {};
  Body body = {}, otherwise = {};
};

// Errors as JinjaTemplate::parse.
Result<Body> parse_template(std::string_view text);

// What is there; parse_template refuses other names.
bool is_filter(std::string_view name);
bool is_test(std::string_view name);

inline Error error_at(int line, Errc code, const std::string& what) {
  return {code, "line " + std::to_string(line) + ": " + what};
}

}  // namespace dgq::jinja
