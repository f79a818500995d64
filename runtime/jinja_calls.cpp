#include "runtime/jinja_calls.h"

#include <algorithm>
#include <cmath>
#include <ctime>

#include "runtime/jinja_parser.h"
#include "runtime/tokenizer_utf8.h"

namespace dgq::jinja {
namespace {

constexpr std::int64_t kLongestRange = 100'000;  // Jinja's, in its sandbox

Error invalid(const std::string& what) { return {Errc::invalid, what}; }

Result<Text> joined(const List& list, const Text& separator, Budget& budget) {
  Text out;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const Text one = to_text(list[i]);
    DGQ_CHECK(budget.bytes(one.bytes.size() + separator.bytes.size()));
    if (i > 0) out.append(separator);
    out.append(one);
  }
  return out;
}

Result<Text> replaced(const Text& text, const Arguments& arguments, Budget& budget) {
  DGQ_CHECK(arguments.check({"old", "new", "count"}));
  const Value *from = arguments.find(0, "old"), *to = arguments.find(1, "new"),
              *most = arguments.find(2, "count");
  if (!from || !to || !from->text() || !to->text()) return invalid("replace takes two strings");
  std::int64_t left = most ? most->integer().value_or(-1) : -1;
  const std::string& old = from->text()->bytes;
  if (old.empty()) return Error{Errc::unsupported, "replace of an empty string is not supported"};
  Text out;
  std::size_t done = 0;
  for (std::size_t at; left != 0 && (at = text.bytes.find(old, done)) != std::string::npos;
       done = at + old.size(), --left) {
    DGQ_CHECK(budget.bytes(at - done + to->text()->bytes.size()));
    out.append(text.part(done, at - done));
    out.append(*to->text());
  }
  DGQ_CHECK(budget.bytes(text.bytes.size() - done));
  out.append(text.part(done));
  return out;
}

Result<List> split(const Text& text, const Arguments& arguments, Budget& budget) {
  DGQ_CHECK(arguments.check({"sep", "maxsplit"}));
  const Value *separator = arguments.find(0, "sep"), *most = arguments.find(1, "maxsplit");
  std::int64_t left = most ? most->integer().value_or(-1) : -1;
  DGQ_CHECK(budget.bytes(text.bytes.size()));
  List parts;
  if (separator && !separator->is_none()) {
    if (!separator->text() || separator->text()->bytes.empty())
      return invalid("split takes a string that is not empty");
    const std::string& at = separator->text()->bytes;
    std::size_t done = 0;
    for (std::size_t found; left != 0 && (found = text.bytes.find(at, done)) != std::string::npos; --left) {
      parts.push_back(text.part(done, found - done));
      done = found + at.size();
    }
    parts.push_back(text.part(done));
    DGQ_CHECK(budget.steps(parts.size()));
    return parts;
  }
  for (Text rest = strip(text, nullptr, Ends::left); !rest.bytes.empty();
       rest = strip(rest, nullptr, Ends::left)) {
    DGQ_CHECK(budget.steps(1 + rest.bytes.size() / 64));
    if (left-- == 0) {
      parts.push_back(rest);
      break;
    }
    const std::string_view bytes = rest.bytes;
    std::size_t end = 0;
    while (end < bytes.size() && !is_space(utf8_code_point(bytes.substr(end))))
      end += utf8_length(bytes.substr(end));
    parts.push_back(rest.part(0, end));
    rest = rest.part(end);
  }
  return parts;
}

Result<bool> begins_or_ends(const Text& text, const Arguments& arguments, bool begins) {
  DGQ_CHECK(arguments.check({"prefix"}));
  const Value* given = arguments.find(0, "prefix");
  const List all = given && given->list() ? *given->list() : given ? List{*given} : List{};
  for (const Value& one : all) {
    if (!one.text()) return invalid("startswith and endswith take a string, or several");
    if (begins ? text.bytes.starts_with(one.text()->bytes) : text.bytes.ends_with(one.text()->bytes))
      return true;
  }
  if (all.empty()) return invalid("startswith and endswith take a string, or several");
  return false;
}

Result<Value> text_method(const Text& self, const std::string& name, const Arguments& arguments,
                          Budget& budget) {
  DGQ_CHECK(budget.bytes(self.bytes.size()));
  if (name == "strip" || name == "lstrip" || name == "rstrip") {
    DGQ_CHECK(arguments.check({"chars"}));
    const Value* given = arguments.find(0, "chars");
    if (given && !given->is_none() && !given->text()) return invalid(name + " takes a string");
    return Value(strip(self, given && given->text() ? &given->text()->bytes : nullptr,
                       name == "strip"    ? Ends::both
                       : name == "lstrip" ? Ends::left
                                          : Ends::right));
  }
  if (name == "startswith" || name == "endswith") {
    DGQ_TRY(const bool is_so, begins_or_ends(self, arguments, name == "startswith"));
    return Value(is_so);
  }
  if (name == "split") {
    DGQ_TRY(List parts, split(self, arguments, budget));
    return Value(std::move(parts));
  }
  if (name == "replace") {
    DGQ_TRY(Text text, replaced(self, arguments, budget));
    return Value(std::move(text));
  }
  constexpr std::pair<std::string_view, Case> kCases[] = {{"upper", Case::upper},
                                                          {"lower", Case::lower},
                                                          {"title", Case::title},
                                                          {"capitalize", Case::capitalize}};
  for (const auto& [word, to] : kCases)
    if (name == word) {
      DGQ_CHECK(arguments.check({}));
      return Value(change_case(self, to));
    }
  if (name == "find" || name == "count") {
    DGQ_CHECK(arguments.check({"sub"}));
    const Value* given = arguments.find(0, "sub");
    if (!given || !given->text() || given->text()->bytes.empty())
      return invalid(name + " takes a string that is not empty");
    const std::string& part = given->text()->bytes;
    std::size_t at = self.bytes.find(part);
    if (name == "find")
      return at == std::string::npos
                 ? Value(std::int64_t{-1})
                 : Value::size(offsets(std::string_view(self.bytes).substr(0, at)).size() - 1);
    std::size_t count = 0;
    for (; at != std::string::npos; at = self.bytes.find(part, at + part.size())) ++count;
    return Value::size(count);
  }
  if (name == "join") {
    DGQ_CHECK(arguments.check({"list"}));
    const Value* given = arguments.find(0, "list");
    if (!given) return invalid("join takes a list");
    DGQ_TRY(const List list, elements(*given, budget));
    DGQ_TRY(Text text, joined(list, self, budget));
    return Value(std::move(text));
  }
  return Error{Errc::unsupported, "the method '" + name + "' of a string is not supported"};
}

Result<Value> dict_method(const Dict& self, const std::string& name, const Arguments& arguments) {
  if (name == "get") {
    DGQ_CHECK(arguments.check({"key", "default"}));
    const Value *key = arguments.find(0, "key"), *fallback = arguments.find(1, "default");
    if (!key) return invalid("get takes a key");
    const Value* found = key->text() ? self.find(key->text()->bytes) : nullptr;
    return found ? *found : fallback ? *fallback : Value(None{});
  }
  if (name != "items" && name != "keys" && name != "values")
    return Error{Errc::unsupported, "the method '" + name + "' of a mapping is not supported"};
  DGQ_CHECK(arguments.check({}));
  List all;
  for (const auto& [key, value] : self.members)
    all.push_back(name == "keys" ? Value(key) : name == "values" ? value : Value(List{key, value}));
  return Value(std::move(all));
}

Result<Value> range(const Arguments& arguments, Budget& budget) {
  std::int64_t bounds[3] = {0, 0, 1};
  const List& given = arguments.values;
  if (given.empty() || given.size() > 3 || !arguments.named.empty())
    return invalid("range takes one to three integers");
  for (std::size_t i = 0; i < given.size(); ++i) {
    const auto whole = given[i].integer();
    if (!whole || std::abs(*whole) > (std::int64_t{1} << 40))
      return invalid("range takes one to three integers");
    bounds[given.size() == 1 ? 1 : i] = *whole;
  }
  const auto [from, to, by] = bounds;
  if (by == 0) return invalid("range takes no step of 0");
  List all;
  for (std::int64_t i = from; by > 0 ? i < to : i > to; i += by) {
    if (static_cast<std::int64_t>(all.size()) == kLongestRange)
      return Error{Errc::unsupported,
                   "a range of over " + std::to_string(kLongestRange) + " is not supported"};
    all.push_back(i);
  }
  DGQ_CHECK(budget.steps(all.size()));
  return Value(std::move(all));
}

Result<Value> time_text(const Arguments& arguments, std::int64_t now_unix_s) {
  DGQ_CHECK(arguments.check({"format"}));
  const Value* format = arguments.find(0, "format");
  if (!format || !format->text()) return invalid("strftime_now takes a format");
  const std::time_t time = now_unix_s;
  std::tm parts{};
  char text[256];
  if (!::gmtime_r(&time, &parts)) return invalid("strftime_now: the clock is out of range");
  const std::size_t size = std::strftime(text, sizeof text, format->text()->bytes.c_str(), &parts);
  if (size == 0 && !format->text()->bytes.empty())
    return invalid("strftime_now: the result is empty or too long");
  return Value::own(std::string(text, size));
}

}  // namespace

Result<void> Budget::steps(std::size_t count) {
  if (count > steps_) return Error{Errc::unsupported, "the template takes too many steps on these messages"};
  steps_ -= count;
  return {};
}
Result<void> Budget::bytes(std::size_t count) {
  if (count > bytes_) return Error{Errc::unsupported, "the template makes too much text of these messages"};
  bytes_ -= count;
  return {};
}

const Value* Arguments::find(std::size_t place, std::string_view name) const {
  if (place < values.size()) return &values[place];
  for (const auto& [own, value] : named)
    if (own == name) return &value;
  return nullptr;
}
Result<void> Arguments::check(std::initializer_list<std::string_view> names) const {
  if (values.size() > names.size())
    return invalid("at most " + std::to_string(names.size()) + " arguments are taken here");
  for (const auto& [name, value] : named)
    if (std::find(names.begin(), names.end(), name) == names.end())
      return Error{Errc::unsupported, "the argument '" + name + "' is not supported here"};
  return {};
}

Result<List> elements(const Value& value, Budget& budget) {
  List all;
  if (value.list()) {
    all = *value.list();
  } else if (value.dict()) {
    for (const auto& [key, member] : value.dict()->members) all.push_back(key);
  } else if (const Text* text = value.text()) {
    DGQ_CHECK(budget.steps(text->bytes.size()));
    const std::vector<std::size_t> at = offsets(text->bytes);
    for (std::size_t i = 0; i + 1 < at.size(); ++i) all.push_back(text->part(at[i], at[i + 1] - at[i]));
    return all;
  } else if (!value.is_undefined()) {
    return invalid(std::string("a value of type ") + value.type_name() + " has no elements to go through");
  }
  DGQ_CHECK(budget.steps(all.size()));
  return all;
}

Result<bool> contains(const Value& whole, const Value& part) {
  if (const Text* text = whole.text()) {
    if (!part.text()) return invalid(std::string("a string contains no ") + part.type_name());
    return text->bytes.find(part.text()->bytes) != std::string::npos;
  }
  if (const List* list = whole.list())
    return std::any_of(list->begin(), list->end(), [&](const Value& one) { return equal(one, part); });
  if (const Dict* dict = whole.dict()) return part.text() && dict->find(part.text()->bytes);
  if (whole.is_undefined()) return false;
  return invalid(std::string("'in' does not go with a value of type ") + whole.type_name());
}

Result<bool> call_test(std::string_view name, const Value& input, const Arguments& arguments) {
  const bool compares = name == "==" || name == "eq" || name == "equalto" || name == "!=" || name == "ne" ||
                        name == "<" || name == "lt" || name == "lessthan" || name == "<=" || name == "le" ||
                        name == ">" || name == "gt" || name == "greaterthan" || name == ">=" ||
                        name == "ge" || name == "in" || name == "sameas" || name == "divisibleby";
  if (arguments.values.size() != (compares ? 1u : 0u) || !arguments.named.empty())
    return invalid("the test '" + std::string(name) + "' takes " +
                   (compares ? "one argument" : "no argument"));
  if (compares) {
    const Value& other = arguments.values.front();
    if (name == "==" || name == "eq" || name == "equalto") return equal(input, other);
    if (name == "!=" || name == "ne") return !equal(input, other);
    if (name == "in") return contains(other, input);
    if (name == "sameas")
      return std::string_view(input.type_name()) == other.type_name() && equal(input, other);
    if (name == "divisibleby") {
      const auto a = input.integer(), b = other.integer();
      if (!a || !b || *b == 0) return invalid("divisibleby takes integers");
      return *b == -1 || *a % *b == 0;
    }
    const auto order = compare(input, other);
    if (!order)
      return invalid(std::string("cannot compare ") + input.type_name() + " with " + other.type_name());
    if (name == "<" || name == "lt" || name == "lessthan") return *order < 0;
    if (name == "<=" || name == "le") return *order <= 0;
    if (name == ">" || name == "gt" || name == "greaterthan") return *order > 0;
    return *order >= 0;
  }
  const auto* truth = input.get<bool>();
  const auto whole = input.integer();
  if (name == "defined") return !input.is_undefined();
  if (name == "undefined") return input.is_undefined();
  if (name == "none") return input.is_none();
  if (name == "string") return input.text() != nullptr;
  if (name == "boolean") return truth != nullptr;
  if (name == "true") return truth && *truth;
  if (name == "false") return truth && !*truth;
  if (name == "integer") return input.get<std::int64_t>() != nullptr;
  if (name == "float") return input.get<double>() != nullptr;
  if (name == "number") return input.number().has_value();
  if (name == "mapping") return input.dict() && !input.get<Namespace>();
  if (name == "iterable" || name == "sequence")
    return input.text() || input.list() || (input.dict() && !input.get<Namespace>()) || input.is_undefined();
  if (name == "callable") return input.get<Function>() != nullptr;
  if (name == "odd" || name == "even") {
    if (!whole) return invalid(std::string(name) + " takes an integer");
    return (*whole % 2 != 0) == (name == "odd");
  }
  const Text text = to_text(input);  // upper, lower: some letter, and none of the other case
  const Text same = change_case(text, name == "upper" ? Case::upper : Case::lower);
  return same.bytes == text.bytes &&
         change_case(text, name == "upper" ? Case::lower : Case::upper).bytes != text.bytes;
}

Result<Value> call_method(const Value& self, const std::string& name, const Arguments& arguments,
                          Budget& budget) {
  if (const Text* text = self.text()) return text_method(*text, name, arguments, budget);
  if (self.dict() && !self.get<Namespace>()) {
    DGQ_CHECK(budget.steps(self.dict()->members.size()));
    return dict_method(*self.dict(), name, arguments);
  }
  return Error{Errc::unsupported,
               "the method '" + name + "' of a value of type " + self.type_name() + " is not supported"};
}

bool is_function(std::string_view name) {
  return name == "raise_exception" || name == "strftime_now" || name == "namespace" || name == "range" ||
         name == "dict";
}

Result<Value> call_function(const std::string& name, const Arguments& arguments, std::int64_t now_unix_s,
                            Budget& budget) {
  if (name == "range") return range(arguments, budget);
  if (name == "strftime_now") return time_text(arguments, now_unix_s);
  if (name == "raise_exception") {
    const Value* why = arguments.find(0, "message");
    return invalid("the chat template says: " + (why ? to_text(*why).bytes : std::string("no")));
  }
  Dict members;
  for (const Value& given : arguments.values) {
    if (!given.dict()) return invalid(name + " takes a mapping, and names");
    for (const auto& [key, value] : given.dict()->members) members.set(key, value);
  }
  for (const auto& [key, value] : arguments.named) members.set(Text::own(key), value);
  if (name == "dict") return Value(std::move(members));
  return Value(Namespace{std::make_shared<Dict>(std::move(members))});
}

}  // namespace dgq::jinja
