// runtime/jinja_calls.h - what templates can call: filters, tests, methods, functions. Internal to jinja_*.
// Errors here are without a line: who calls knows it.
#pragma once

#include <initializer_list>

#include "runtime/jinja.h"
#include "runtime/jinja_value.h"

namespace dgq::jinja {

// What a rendering may still do.
class Budget {
 public:
  explicit Budget(const JinjaLimits& limits) : steps_(limits.steps), bytes_(limits.bytes) {}
  Result<void> steps(std::size_t count);
  Result<void> bytes(std::size_t count);

 private:
  std::size_t steps_, bytes_;
};

struct Arguments {
  List values;
  std::vector<std::pair<std::string, Value>> named;

  // By place or by name; null: not given.
  const Value* find(std::size_t place, std::string_view name) const;
  // invalid: more than `names` say, or others.
  Result<void> check(std::initializer_list<std::string_view> names) const;
};

// Elements of a list, keys of a mapping, characters of a string, nothing of what is undefined.
Result<List> elements(const Value& value, Budget& budget);
Result<bool> contains(const Value& whole, const Value& part);

// Two operands: + - * / // % ** ~
Result<Value> call_operator(const std::string& op, const Value& left, const Value& right, Budget& budget);
// owner[key] of a string or list, undefined where there is none; owner[bounds[0]:bounds[1]:bounds[2]], None where nothing
// stands.
Result<Value> element(const Value& owner, const Value& key, Budget& budget);
Result<Value> slice_of(const Value& owner, const List& bounds, Budget& budget);

Result<Value> call_filter(std::string_view name, const Value& input, const Arguments& arguments,
                          Budget& budget);
Result<bool> call_test(std::string_view name, const Value& input, const Arguments& arguments);
Result<Value> call_method(const Value& self, const std::string& name, const Arguments& arguments,
                          Budget& budget);

bool is_function(std::string_view name);
Result<Value> call_function(const std::string& name, const Arguments& arguments, std::int64_t now_unix_s,
                            Budget& budget);

}  // namespace dgq::jinja
