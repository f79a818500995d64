#include <algorithm>
#include <charconv>
#include <cmath>

#include "runtime/jinja_calls.h"

namespace dgq::jinja {
namespace {

Error invalid(const std::string& what) { return {Errc::invalid, what}; }

// "a.b" of a value; undefined where there is none.
Value member(const Value& value, const Value& path) {
  if (!path.text()) {
    const auto index = path.integer();
    if (!index || !value.list() || *index < 0 || static_cast<std::size_t>(*index) >= value.list()->size())
      return Undefined{};
    return (*value.list())[static_cast<std::size_t>(*index)];
  }
  Value at = value;
  std::string_view rest = path.text()->bytes;
  while (true) {
    const std::size_t dot = rest.find('.');
    const Value* next = at.dict() ? at.dict()->find(rest.substr(0, dot)) : nullptr;
    if (!next) return Undefined{path.text()->bytes};
    at = Value(*next);
    if (dot == rest.npos) return at;
    rest.remove_prefix(dot + 1);
  }
}

// select, reject: of the elements themselves; selectattr, rejectattr: of one of their members.
Result<Value> select(std::string_view name, const Value& input, const Arguments& arguments, Budget& budget) {
  const bool by_member = name.ends_with("attr"), wanted = name.starts_with("select");
  const std::size_t skip = by_member ? 1 : 0;
  if (arguments.values.size() < skip) return invalid(std::string(name) + " takes the name of a member");
  Arguments test;
  std::string word;
  if (arguments.values.size() > skip) {
    const Text* text = arguments.values[skip].text();
    if (!text) return invalid(std::string(name) + " takes the name of a test");
    word = text->bytes;
    test.values.assign(arguments.values.begin() + static_cast<std::ptrdiff_t>(skip) + 1,
                       arguments.values.end());
  }
  DGQ_TRY(const List list, elements(input, budget));
  List kept;
  for (const Value& one : list) {
    const Value value = by_member ? member(one, arguments.values.front()) : one;
    bool is_so = value.truth();
    if (!word.empty()) {
      DGQ_TRY(is_so, call_test(word, value, test));
    }
    if (is_so == wanted) kept.push_back(one);
  }
  return Value(std::move(kept));
}

Result<Value> map(const Value& input, const Arguments& arguments, Budget& budget) {
  DGQ_TRY(const List list, elements(input, budget));
  List all;
  if (const Value* path = arguments.find(SIZE_MAX, "attribute")) {
    const Value* fallback = arguments.find(SIZE_MAX, "default");
    for (const Value& one : list) {
      Value found = member(one, *path);
      all.push_back(found.is_undefined() && fallback ? *fallback : std::move(found));
    }
    return Value(std::move(all));
  }
  const Text* filter = arguments.values.empty() ? nullptr : arguments.values.front().text();
  if (!filter) return invalid("map takes the name of a filter, or attribute=");
  Arguments rest;
  rest.values.assign(arguments.values.begin() + 1, arguments.values.end());
  rest.named = arguments.named;
  for (const Value& one : list) {
    DGQ_TRY(Value value, call_filter(filter->bytes, one, rest, budget));
    all.push_back(std::move(value));
  }
  return Value(std::move(all));
}

// As Jinja sorts: texts without regard to case.
Value sort_key(const Value& value) {
  return value.text() ? Value(change_case(*value.text(), Case::lower)) : value;
}

Result<Value> sort(const Value& input, const Arguments& arguments, Budget& budget) {
  DGQ_CHECK(arguments.check({"reverse", "case_sensitive", "attribute"}));
  const Value *reverse = arguments.find(0, "reverse"), *exact = arguments.find(1, "case_sensitive"),
              *path = arguments.find(2, "attribute");
  DGQ_TRY(const List list, elements(input, budget));
  DGQ_CHECK(budget.steps(list.size() * 20));
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& one : list) {
    const Value key = path ? member(one, *path) : one;
    keyed.emplace_back(exact && exact->truth() ? key : sort_key(key), one);
  }
  for (const auto& one : keyed)
    if (!compare(keyed.front().first, one.first))
      return invalid("sort: the elements cannot be compared with each other");
  const bool down = reverse && reverse->truth();
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    const int order = compare(a.first, b.first).value_or(0);
    return down ? order > 0 : order < 0;
  });
  List all;
  for (auto& [key, one] : keyed) all.push_back(std::move(one));
  return Value(std::move(all));
}

Result<Value> unique(const Value& input, Budget& budget) {
  DGQ_TRY(const List list, elements(input, budget));
  List kept, keys;
  for (const Value& one : list) {
    DGQ_CHECK(budget.steps(keys.size()));
    const Value key = sort_key(one);
    if (std::any_of(keys.begin(), keys.end(), [&](const Value& known) { return equal(known, key); }))
      continue;
    keys.push_back(key);
    kept.push_back(one);
  }
  return Value(std::move(kept));
}

Result<Value> least_or_most(std::string_view name, const Value& input, Budget& budget) {
  DGQ_TRY(const List list, elements(input, budget));
  const Value* best = nullptr;
  for (const Value& one : list) {
    const auto order = best ? compare(sort_key(one), sort_key(*best)) : std::optional(name == "min" ? -1 : 1);
    if (!order) return invalid(std::string(name) + ": the elements cannot be compared with each other");
    if (name == "min" ? *order < 0 : *order > 0) best = &one;
  }
  return best ? *best : Value(Undefined{});
}

Result<Value> sum(const Value& input, Budget& budget) {
  DGQ_TRY(const List list, elements(input, budget));
  std::int64_t whole = 0;
  double real = 0;
  bool is_real = false;
  for (const Value& one : list) {
    const auto number = one.number();
    if (!number) return invalid("sum: an element is no number");
    is_real = is_real || !one.integer();
    real += *number;
    if (one.integer() && __builtin_add_overflow(whole, *one.integer(), &whole))
      return Error{Errc::unsupported, "integers beyond 64 bits are not supported"};
  }
  return is_real ? Value(real) : Value(whole);
}

Result<Value> to_number(std::string_view name, const Value& input, const Arguments& arguments) {
  DGQ_CHECK(arguments.check({"default"}));
  const bool whole = name == "int";
  const Value* given = arguments.find(0, "default");
  const Value fallback = given ? *given : whole ? Value(std::int64_t{0}) : Value(0.0);
  double number = 0;
  if (const Text* text = input.text()) {
    const std::string bytes = strip(*text, nullptr, Ends::both).bytes;
    std::int64_t integer = 0;
    const char *begin = bytes.data() + (bytes.starts_with('+') ? 1 : 0), *end = bytes.data() + bytes.size();
    if (const auto [at, error] = std::from_chars(begin, end, integer);
        whole && error == std::errc() && at == end)
      return Value(integer);
    const auto [at, error] = std::from_chars(begin, end, number);
    if (error != std::errc() || at != end || begin == end) return fallback;
  } else if (const auto value = input.number()) {
    if (whole && input.integer()) return Value(*input.integer());
    number = *value;
  } else {
    return fallback;
  }
  if (!whole) return Value(number);
  if (!(std::fabs(number) < 9e18)) return fallback;
  return Value(static_cast<std::int64_t>(number));
}

Result<Value> indent(const Text& text, const Arguments& arguments, Budget& budget) {
  DGQ_CHECK(arguments.check({"width", "first", "blank"}));
  const Value *width = arguments.find(0, "width"), *first = arguments.find(1, "first"),
              *blank = arguments.find(2, "blank");
  std::string space(4, ' ');
  if (width && width->text()) {
    space = width->text()->bytes;
  } else if (width) {
    const auto count = width->integer();
    if (!count || *count < 0 || *count > 1000) return invalid("indent takes a width from 0 to 1000");
    space.assign(static_cast<std::size_t>(*count), ' ');
  }
  Text out;
  for (std::size_t at = 0, line = 0; at <= text.bytes.size(); ++line) {
    const std::size_t end = std::min(text.bytes.find('\n', at), text.bytes.size());
    DGQ_CHECK(budget.bytes(space.size() + end - at + 1));
    if (line > 0) out.append("\n");
    const bool wanted = line == 0 ? first && first->truth() : end > at || (blank && blank->truth());
    if (wanted) out.append(space);
    out.append(text.part(at, end - at));
    at = end + 1;
  }
  return Value(std::move(out));
}

Result<Value> to_json(const Value& input, const Arguments& arguments, Budget& budget) {
  DGQ_CHECK(arguments.check({"indent", "ensure_ascii"}));
  const Value *indent = arguments.find(0, "indent"), *ascii = arguments.find(1, "ensure_ascii");
  if (ascii && ascii->truth()) return Error{Errc::unsupported, "tojson with ensure_ascii is not supported"};
  const std::int64_t width = indent ? indent->integer().value_or(-1) : -1;
  if (width > 100) return invalid("tojson takes an indent of at most 100");
  Text out;
  if (!append_json(input, static_cast<int>(width), out))
    return invalid(std::string("tojson cannot write a value of type ") + input.type_name() +
                   ", or one that is nested so deep");
  DGQ_CHECK(budget.bytes(out.bytes.size()));
  return Value(std::move(out));
}

Result<Value> dict_filter(std::string_view name, const Value& input, const Arguments& arguments,
                          Budget& budget) {
  if (input.is_undefined() && name == "items") return Value(List{});
  if (!input.dict()) return invalid(std::string(name) + " takes a mapping");
  DGQ_TRY(Value items, call_method(input, "items", {}, budget));
  if (name == "items") return items;
  DGQ_CHECK(arguments.check({}));
  Arguments by_key;
  by_key.named.emplace_back("attribute", Value(std::int64_t{0}));
  return sort(items, by_key, budget);
}

Result<Value> join(const Value& input, const Arguments& arguments, Budget& budget) {
  DGQ_CHECK(arguments.check({"d", "attribute"}));
  const Value *separator = arguments.find(0, "d"), *path = arguments.find(1, "attribute");
  DGQ_TRY(List list, elements(input, budget));
  if (path)
    for (Value& one : list) one = member(one, *path);
  Arguments to_join;
  to_join.values.push_back(std::move(list));
  return call_method(separator ? Value(to_text(*separator)) : Value(Text{}), "join", to_join, budget);
}

}  // namespace

Result<Value> call_filter(std::string_view name, const Value& input, const Arguments& arguments,
                          Budget& budget) {
  if (name == "default" || name == "d") {
    DGQ_CHECK(arguments.check({"default_value", "boolean"}));
    const Value *value = arguments.find(0, "default_value"), *falsy = arguments.find(1, "boolean");
    const bool missing = input.is_undefined() || (falsy && falsy->truth() && !input.truth());
    return !missing ? input : value ? *value : Value(Text{});
  }
  if (name == "length" || name == "count") {
    if (input.list()) return Value::size(input.list()->size());
    if (input.dict()) return Value::size(input.dict()->members.size());
    if (input.text()) return Value::size(offsets(input.text()->bytes).size() - 1);
    if (input.is_undefined()) return Value::size(0);
    return invalid(std::string("a value of type ") + input.type_name() + " has no length");
  }
  if (name == "select" || name == "reject" || name == "selectattr" || name == "rejectattr")
    return select(name, input, arguments, budget);
  if (name == "map") return map(input, arguments, budget);
  if (name == "join") return join(input, arguments, budget);
  if (name == "tojson") return to_json(input, arguments, budget);
  if (name == "items" || name == "dictsort") return dict_filter(name, input, arguments, budget);
  if (name == "sort") return sort(input, arguments, budget);
  if (name == "unique") return unique(input, budget);
  if (name == "min" || name == "max") return least_or_most(name, input, budget);
  if (name == "sum") return sum(input, budget);
  if (name == "int" || name == "float") return to_number(name, input, arguments);
  if (name == "abs") {
    if (const auto whole = input.integer(); whole && *whole != INT64_MIN) return Value(std::abs(*whole));
    if (const auto* real = input.get<double>()) return Value(std::fabs(*real));
    return invalid("abs takes a number");
  }
  if (name == "first" || name == "last" || name == "list" || name == "reverse") {
    if (name == "reverse" && input.text()) {
      DGQ_TRY(List letters, elements(input, budget));
      std::reverse(letters.begin(), letters.end());
      return join(Value(std::move(letters)), {}, budget);
    }
    DGQ_TRY(List list, elements(input, budget));
    if (name == "reverse") std::reverse(list.begin(), list.end());
    if (name == "list" || name == "reverse") return Value(std::move(list));
    return list.empty() ? Value(Undefined{}) : name == "first" ? list.front() : list.back();
  }
  // What is left makes a text of its input.
  Text text = to_text(input);
  DGQ_CHECK(budget.bytes(text.bytes.size()));
  if (name == "string" || name == "safe") return Value(std::move(text));
  if (name == "trim") return call_method(Value(std::move(text)), "strip", arguments, budget);
  if (name == "replace") return call_method(Value(std::move(text)), "replace", arguments, budget);
  if (name == "indent") return indent(text, arguments, budget);
  if (name == "title") return Value(change_case(text, Case::words));
  if (name == "upper" || name == "lower" || name == "capitalize")
    return call_method(Value(std::move(text)), std::string(name), arguments, budget);
  return Error{Errc::unsupported, "the filter '" + std::string(name) + "' is not supported"};
}

}  // namespace dgq::jinja
