// runtime/jinja_value.h - what expressions of a template come to. Internal to jinja_*.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace dgq::jinja {

// Well-formed UTF-8 that knows which of its bytes came in with the variables.
struct Text {
  std::string bytes;
  std::string from_data;  // empty: none; else a 0 or 1 per byte

  static Text own(std::string text) { return {std::move(text), {}}; }
  static Text data(std::string text) {
    std::string marks(text.size(), '\1');
    return {std::move(text), std::move(marks)};
  }
  bool has_data() const { return from_data.find('\1') != std::string::npos; }
  void append(const Text& other);
  void append(std::string_view own_bytes);
  Text part(std::size_t begin, std::size_t count = std::string::npos) const;  // bytes
};

class Value;
using List = std::vector<Value>;
struct Dict;
struct Stmt;

struct Undefined {
  std::string name;
};
struct None {};
struct Namespace {
  std::shared_ptr<Dict> members;  // the only thing that a template can change
};
struct Function {
  const Stmt* macro = nullptr;
  std::string builtin;  // when there is no macro
};

class Value {
 public:
  using Any = std::variant<Undefined, None, bool, std::int64_t, double, std::shared_ptr<const Text>,
                           std::shared_ptr<const List>, std::shared_ptr<const Dict>, Namespace, Function>;
  Value() : any_(Undefined{}) {}
  Value(Undefined undefined) : any_(std::move(undefined)) {}
  Value(None none) : any_(none) {}
  Value(Namespace names) : any_(std::move(names)) {}
  Value(Function function) : any_(std::move(function)) {}
  Value(bool value) : any_(value) {}
  Value(std::int64_t value) : any_(value) {}
  Value(double value) : any_(value) {}
  Value(const char*) = delete;  // would be a bool
  Value(Text text);
  Value(List list);
  Value(Dict dict);
  static Value own(std::string text) { return Text::own(std::move(text)); }
  static Value size(std::size_t value) { return static_cast<std::int64_t>(value); }

  template <class T>
  const T* get() const {
    return std::get_if<T>(&any_);
  }
  const Text* text() const { return pointed<Text>(); }
  const List* list() const { return pointed<List>(); }
  const Dict* dict() const;  // of a namespace as well
  bool is_undefined() const { return get<Undefined>() != nullptr; }
  bool is_none() const { return get<None>() != nullptr; }
  std::optional<double> number() const;         // bool, integer or real
  std::optional<std::int64_t> integer() const;  // bool or integer
  bool truth() const;
  const char* type_name() const;

 private:
  template <class T>
  const T* pointed() const {
    const auto* held = std::get_if<std::shared_ptr<const T>>(&any_);
    return held ? held->get() : nullptr;
  }
  Any any_;
};

struct Dict {
  std::vector<std::pair<Text, Value>> members;  // in order
  const Value* find(std::string_view key) const;
  void set(const Text& key, Value value);
};

// Equal as Python has it: numbers of every kind by value, lists and dicts by their elements.
bool equal(const Value& a, const Value& b, int depth = 0);
// <0, 0, >0; nullopt: they cannot be compared.
std::optional<int> compare(const Value& a, const Value& b);

Value from_json(const OrderedJson& json, bool data);
// str(), repr() and json.dumps(ensure_ascii=False) of Python. indent < 0: on one line. false: nested too deep.
Text to_text(const Value& value);
bool append_repr(const Value& value, Text& out, int depth = 0);
bool append_json(const Value& value, int indent, Text& out, int depth = 0);

// Texts by code points.
std::vector<std::size_t> offsets(std::string_view text);  // of each, and the end
bool is_space(char32_t c);                                // as str.isspace
enum class Ends { left, right, both };
Text strip(const Text& text, const std::string* characters, Ends ends);  // null: white space
enum class Case { upper, lower, capitalize, title, words };  // title: str.title; words: Jinja's filter
Text change_case(const Text& text, Case to);

}  // namespace dgq::jinja
