#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "runtime/jinja_calls.h"
#include "runtime/tokenizer_utf8.h"

namespace dgq::jinja {
namespace {

Error invalid(const std::string& what) { return {Errc::invalid, what}; }

Result<Value> real_number(const std::string& op, double a, double b) {
  if (op == "+") return Value(a + b);
  if (op == "-") return Value(a - b);
  if (op == "*") return Value(a * b);
  if (op == "**") return Error{Errc::unsupported, "a power of numbers with a fraction is not supported"};
  if (b == 0) return invalid("a division by 0");
  if (op == "/") return Value(a / b);
  const double floored = std::floor(a / b);
  return Value(op == "//" ? floored : a - floored * b);
}

Result<Value> whole_number(const std::string& op, std::int64_t a, std::int64_t b) {
  const Error too_large{Errc::unsupported, "integers beyond 64 bits are not supported"};
  std::int64_t out = 0;
  if (op == "+" || op == "-" || op == "*") {
    const bool over = op == "+"   ? __builtin_add_overflow(a, b, &out)
                      : op == "-" ? __builtin_sub_overflow(a, b, &out)
                                  : __builtin_mul_overflow(a, b, &out);
    return over ? Result<Value>(too_large) : Result<Value>(Value(out));
  }
  if (op == "**") {
    if (b < 0) return real_number(op, static_cast<double>(a), static_cast<double>(b));
    if (a == 0 || a == 1 || a == -1) return Value(b == 0 || (a == -1 && b % 2 == 0) ? std::int64_t{1} : a);
    out = 1;
    for (std::int64_t i = 0; i < b; ++i)
      if (__builtin_mul_overflow(out, a, &out)) return too_large;
    return Value(out);
  }
  if (b == 0) return invalid("a division by 0");
  if (b == -1 && op == "%") return Value(std::int64_t{0});  // a / b could overflow
  if (b == -1) return a == INT64_MIN ? Result<Value>(too_large) : Result<Value>(Value(-a));
  const std::int64_t rest = a % b, floored = a / b - (rest != 0 && (rest < 0) != (b < 0) ? 1 : 0);
  return Value(op == "%" ? a - floored * b : floored);
}

Result<Value> repeated(const Text& text, std::int64_t times, Budget& budget) {
  const auto count = static_cast<std::size_t>(std::max<std::int64_t>(times, 0));
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(count, text.bytes.size(), &bytes)) bytes = SIZE_MAX;
  DGQ_CHECK(budget.bytes(bytes));
  Text out;
  for (std::size_t i = 0; i < count && bytes > 0; ++i) out.append(text);
  return Value(std::move(out));
}

}  // namespace

Result<Value> call_operator(const std::string& op, const Value& left, const Value& right, Budget& budget) {
  if (op == "~" || (op == "+" && left.text() && right.text())) {
    Text text = to_text(left);
    text.append(to_text(right));
    DGQ_CHECK(budget.bytes(text.bytes.size()));
    return Value(std::move(text));
  }
  if (op == "+" && left.list() && right.list()) {
    DGQ_CHECK(budget.steps(left.list()->size() + right.list()->size()));
    List all = *left.list();
    all.insert(all.end(), right.list()->begin(), right.list()->end());
    return Value(std::move(all));
  }
  if (op == "*" && left.text() && right.integer()) return repeated(*left.text(), *right.integer(), budget);
  if (left.integer() && right.integer() && op != "/")
    return whole_number(op, *left.integer(), *right.integer());
  if (left.number() && right.number()) return real_number(op, *left.number(), *right.number());
  for (const Value* side : {&left, &right})
    if (const auto* undefined = side->get<Undefined>())
      return invalid((undefined->name.empty() ? "a value" : in_quotes(undefined->name)) + " is undefined");
  return Error{Errc::unsupported, "'" + op + "' between " + left.type_name() + " and " + right.type_name() +
                                      " is not supported"};
}

Result<Value> element(const Value& owner, const Value& key, Budget& budget) {
  const auto index = key.integer();
  if (!index || !(owner.text() || owner.list())) return Value(Undefined{});
  DGQ_TRY(const List list, elements(owner, budget));
  const auto count = static_cast<std::int64_t>(list.size());
  if (*index < -count || *index >= count) return Value(Undefined{});
  return list[static_cast<std::size_t>(*index < 0 ? *index + count : *index)];
}

Result<Value> slice_of(const Value& owner, const List& given, Budget& budget) {
  std::optional<std::int64_t> bounds[3];
  for (std::size_t i = 0; i < 3; ++i) {
    if (given[i].is_none()) continue;
    bounds[i] = given[i].integer();
    if (!bounds[i] || std::llabs(*bounds[i]) > INT32_MAX)
      return invalid("the bounds of a slice must be integers");
  }
  const std::int64_t by = bounds[2].value_or(1);
  if (by == 0) return invalid("the step of a slice cannot be 0");
  if (!owner.text() && !owner.list())
    return invalid(std::string("a value of type ") + owner.type_name() + " cannot be sliced");
  DGQ_TRY(const List list, elements(owner, budget));
  const auto count = static_cast<std::int64_t>(list.size());
  const std::int64_t low = by > 0 ? 0 : -1, high = by > 0 ? count : count - 1;
  const auto bound = [&](const std::optional<std::int64_t>& at, std::int64_t otherwise) {
    return at ? std::clamp(*at < 0 ? *at + count : *at, low, high) : otherwise;
  };
  const std::int64_t from = bound(bounds[0], by > 0 ? low : high), to = bound(bounds[1], by > 0 ? high : low);
  List taken;
  for (std::int64_t i = from; by > 0 ? i < to : i > to; i += by)
    taken.push_back(list[static_cast<std::size_t>(i)]);
  if (owner.list()) return Value(std::move(taken));
  Text text;
  for (const Value& one : taken) text.append(*one.text());
  DGQ_CHECK(budget.bytes(text.bytes.size()));
  return Value(std::move(text));
}

}  // namespace dgq::jinja
