#include "runtime/jinja_value.h"

#include <utf8proc.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "runtime/tokenizer_utf8.h"

namespace dgq::jinja {
namespace {

constexpr int kMaxDepth = 100;

// repr() of a float: the shortest digits that read back, with an exponent from 1e16 on.
std::string real_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char text[400];
  const double size = std::fabs(value);
  const auto format =
      size != 0 && (size < 1e-4 || size >= 1e16) ? std::chars_format::scientific : std::chars_format::fixed;
  const auto end = std::to_chars(text, text + sizeof text, value, format).ptr;
  std::string out(text, end);
  return out.find_first_of(".e") == std::string::npos ? out + ".0" : out;
}

std::string scalar_text(const Value& value) {
  if (value.is_none()) return "None";
  if (const auto* truth = value.get<bool>()) return *truth ? "True" : "False";
  if (const auto* integer = value.get<std::int64_t>()) return std::to_string(*integer);
  if (const auto* real = value.get<double>()) return real_text(*real);
  return {};
}

void append_marked(const std::string& bytes, bool data, Text& out) {
  out.append(data ? Text::data(bytes) : Text::own(bytes));
}

std::string escaped(std::string_view text, char quote, bool json) {
  std::string out(1, quote);
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    char code[8];
    if (c == quote || c == '\\') {
      out += {'\\', c};
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (json && c == '\b') {
      out += "\\b";
    } else if (json && c == '\f') {
      out += "\\f";
    } else if (byte < 0x20 || (byte == 0x7F && !json)) {
      std::snprintf(code, sizeof code, json ? "\\u%04x" : "\\x%02x", byte);
      out += code;
    } else {
      out += c;
    }
  }
  return out + quote;
}

void new_line(int indent, int depth, Text& out) {
  if (indent >= 0)
    out.append("\n" + std::string(static_cast<std::size_t>(indent) * static_cast<std::size_t>(depth), ' '));
}

}  // namespace

void Text::append(const Text& other) {
  if (!other.from_data.empty() || !from_data.empty()) {
    from_data.resize(bytes.size(), '\0');
    from_data += other.from_data;
    from_data.resize(bytes.size() + other.bytes.size(), '\0');
  }
  bytes += other.bytes;
}
void Text::append(std::string_view own_bytes) {
  bytes += own_bytes;
  if (!from_data.empty()) from_data.resize(bytes.size(), '\0');
}
Text Text::part(std::size_t begin, std::size_t count) const {
  return {bytes.substr(begin, count), from_data.empty() ? std::string() : from_data.substr(begin, count)};
}

Value::Value(Text text) : any_(std::make_shared<const Text>(std::move(text))) {}
Value::Value(List list) : any_(std::make_shared<const List>(std::move(list))) {}
Value::Value(Dict dict) : any_(std::make_shared<const Dict>(std::move(dict))) {}

const Dict* Value::dict() const {
  if (const auto* names = get<Namespace>()) return names->members.get();
  return pointed<Dict>();
}
std::optional<std::int64_t> Value::integer() const {
  if (const auto* truth = get<bool>()) return *truth;
  if (const auto* value = get<std::int64_t>()) return *value;
  return std::nullopt;
}
std::optional<double> Value::number() const {
  if (const auto whole = integer()) return static_cast<double>(*whole);
  if (const auto* value = get<double>()) return *value;
  return std::nullopt;
}
bool Value::truth() const {
  if (is_undefined() || is_none()) return false;
  if (const auto value = number()) return *value != 0;
  if (const Text* value = text()) return !value->bytes.empty();
  if (const List* value = list()) return !value->empty();
  if (const Dict* value = pointed<Dict>()) return !value->members.empty();
  return true;
}
const char* Value::type_name() const {
  constexpr const char* kNames[] = {"undefined", "none", "boolean", "integer",   "float",
                                    "string",    "list", "mapping", "namespace", "function"};
  return kNames[any_.index()];
}

const Value* Dict::find(std::string_view key) const {
  for (const auto& [name, value] : members)
    if (name.bytes == key) return &value;
  return nullptr;
}
void Dict::set(const Text& key, Value value) {
  for (auto& [name, old] : members)
    if (name.bytes == key.bytes) {
      old = std::move(value);
      return;
    }
  members.emplace_back(key, std::move(value));
}

bool equal(const Value& a, const Value& b, int depth) {
  if (depth > kMaxDepth) return false;
  if (const auto x = a.integer(), y = b.integer(); x && y) return *x == *y;
  if (const auto x = a.number(), y = b.number(); x && y) return *x == *y;
  if (a.text() && b.text()) return a.text()->bytes == b.text()->bytes;
  if (a.list() && b.list())
    return std::equal(a.list()->begin(), a.list()->end(), b.list()->begin(), b.list()->end(),
                      [&](const Value& x, const Value& y) { return equal(x, y, depth + 1); });
  if (a.dict() && b.dict()) {
    if (a.dict()->members.size() != b.dict()->members.size()) return false;
    return std::all_of(a.dict()->members.begin(), a.dict()->members.end(), [&](const auto& member) {
      const Value* other = b.dict()->find(member.first.bytes);
      return other && equal(member.second, *other, depth + 1);
    });
  }
  return (a.is_none() && b.is_none()) || (a.is_undefined() && b.is_undefined());
}

std::optional<int> compare(const Value& a, const Value& b) {
  const auto order = [](const auto& x, const auto& y) { return x < y ? -1 : x > y ? 1 : 0; };
  if (const auto x = a.integer(), y = b.integer(); x && y) return order(*x, *y);
  if (const auto x = a.number(), y = b.number(); x && y) return order(*x, *y);
  if (a.text() && b.text()) return order(a.text()->bytes, b.text()->bytes);  // UTF-8 sorts as code points do
  return std::nullopt;
}

Value from_json(const OrderedJson& json, bool data) {
  if (json.is_boolean()) return json.get<bool>();
  if (json.is_number_unsigned() && json.get<std::uint64_t>() > INT64_MAX) return json.get<double>();
  if (json.is_number_integer()) return json.get<std::int64_t>();
  if (json.is_number()) return json.get<double>();
  const auto text = [&](const std::string& bytes) { return data ? Text::data(bytes) : Text::own(bytes); };
  if (json.is_string()) return text(json.get<std::string>());
  if (json.is_array()) {
    List list;
    for (const OrderedJson& element : json) list.push_back(from_json(element, data));
    return list;
  }
  if (json.is_object()) {
    Dict dict;
    for (const auto& [key, member] : json.items())
      dict.members.emplace_back(text(key), from_json(member, data));
    return dict;
  }
  return None{};
}

Text to_text(const Value& value) {
  if (const Text* text = value.text()) return *text;
  if (value.is_undefined()) return {};
  Text out;
  append_repr(value, out);
  return out;
}

bool append_repr(const Value& value, Text& out, int depth) {
  if (depth > kMaxDepth) return false;
  if (const Text* text = value.text()) {
    const bool single =
        text->bytes.find('\'') == std::string::npos || text->bytes.find('"') != std::string::npos;
    append_marked(escaped(text->bytes, single ? '\'' : '"', false), text->has_data(), out);
  } else if (const List* list = value.list()) {
    const char* separator = "[";
    for (const Value& element : *list) {
      out.append(separator);
      if (!append_repr(element, out, depth + 1)) return false;
      separator = ", ";
    }
    out.append(list->empty() ? "[]" : "]");
  } else if (const Dict* dict = value.dict()) {
    const char* separator = "{";
    for (const auto& [key, member] : dict->members) {
      out.append(separator);
      append_repr(key, out, depth + 1);
      out.append(": ");
      if (!append_repr(member, out, depth + 1)) return false;
      separator = ", ";
    }
    out.append(dict->members.empty() ? "{}" : "}");
  } else {
    out.append(scalar_text(value));
  }
  return true;
}

bool append_json(const Value& value, int indent, Text& out, int depth) {
  if (depth > kMaxDepth || value.is_undefined() || value.get<Function>() || value.get<Namespace>())
    return false;
  const char* between = indent < 0 ? ", " : ",";
  const auto list = [&](char open, char close, const auto& elements, const auto& element) {
    if (elements.empty()) return out.append(std::string{open, close}), true;
    out.append(std::string(1, open));
    bool first = true;
    for (const auto& one : elements) {
      if (!first) out.append(between);
      first = false;
      new_line(indent, depth + 1, out);
      if (!element(one)) return false;
    }
    new_line(indent, depth, out);
    out.append(std::string(1, close));
    return true;
  };
  if (value.is_none()) return out.append("null"), true;
  if (const auto* truth = value.get<bool>()) return out.append(*truth ? "true" : "false"), true;
  if (const Text* text = value.text())
    return append_marked(escaped(text->bytes, '"', true), text->has_data(), out), true;
  if (value.list())
    return list('[', ']', *value.list(),
                [&](const Value& v) { return append_json(v, indent, out, depth + 1); });
  if (value.dict())
    return list('{', '}', value.dict()->members, [&](const auto& member) {
      append_marked(escaped(member.first.bytes, '"', true), member.first.has_data(), out);
      out.append(": ");
      return append_json(member.second, indent, out, depth + 1);
    });
  out.append(scalar_text(value));
  return true;
}

std::vector<std::size_t> offsets(std::string_view text) {
  std::vector<std::size_t> all;
  for (std::size_t at = 0; at < text.size(); at += utf8_length(text.substr(at))) all.push_back(at);
  all.push_back(text.size());
  return all;
}

bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

Text strip(const Text& text, const std::string* characters, Ends ends) {
  const std::string_view bytes = text.bytes;
  const std::vector<std::size_t> at = offsets(bytes);
  const auto goes = [&](std::size_t i) {
    const std::string_view one = bytes.substr(at[i], at[i + 1] - at[i]);
    return characters ? characters->find(one) != std::string::npos : is_space(utf8_code_point(one));
  };
  std::size_t begin = 0, end = at.size() - 1;
  while (ends != Ends::right && begin < end && goes(begin)) ++begin;
  while (ends != Ends::left && end > begin && goes(end - 1)) --end;
  return text.part(at[begin], at[end] - at[begin]);
}

Text change_case(const Text& text, Case to) {
  Text out;
  bool in_word = false;
  const std::vector<std::size_t> at = offsets(text.bytes);
  for (std::size_t i = 0; i + 1 < at.size(); ++i) {
    const auto c = static_cast<utf8proc_int32_t>(utf8_code_point(std::string_view(text.bytes).substr(at[i])));
    const bool starts = to == Case::title || to == Case::words ? !in_word : i == 0;
    const bool upper = to == Case::upper || (to != Case::lower && starts);
    std::string changed;
    append_utf8(static_cast<char32_t>(upper ? utf8proc_toupper(c) : utf8proc_tolower(c)), changed);
    in_word = to == Case::words ? !is_space(static_cast<char32_t>(c)) &&
                                      std::u32string_view(U"-({[<").find(static_cast<char32_t>(c)) ==
                                          std::u32string_view::npos
                                : utf8proc_toupper(c) != utf8proc_tolower(c);
    append_marked(changed, !text.from_data.empty() && text.from_data[at[i]] != 0, out);
  }
  return out;
}

}  // namespace dgq::jinja
