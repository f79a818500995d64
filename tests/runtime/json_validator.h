// tests/runtime/json_validator.h - JSON Schema as its specification words it, as far as json_grammar.h reads it: the
// judge of what a JsonConstraint lets through, sharing no code with it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <regex>
#include <string>

#include "base/json.h"
#include "runtime/tokenizer_utf8.h"

namespace dgq::test {

inline std::size_t code_points(const std::string& text) {
  std::size_t count = 0;
  for (std::size_t at = 0; at < text.size(); at += utf8_length(std::string_view(text).substr(at))) ++count;
  return count;
}

// Whether the expression is found in the text: std::regex reads ECMAScript, too.
inline bool finds(const std::string& expression, const std::string& text) {
  const auto wide = [](const std::string& narrow) {
    std::wstring points;
    for (std::size_t at = 0; at < narrow.size(); at += utf8_length(std::string_view(narrow).substr(at)))
      points += static_cast<wchar_t>(utf8_code_point(std::string_view(narrow).substr(at)));
    return points;
  };
  return std::regex_search(wide(text), std::wregex(wide(expression), std::regex::ECMAScript));
}

// Read as numbers, not as a pattern.
inline bool has_format(const std::string& text, const std::string& format) {
  const auto count = static_cast<int>(text.size());
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, read = 0;
  const auto is_date = [&](const std::string& date) {
    if (date.size() != 10 || std::sscanf(date.c_str(), "%4d-%2d-%2d%n", &year, &month, &day, &read) != 3 ||
        read != 10)
      return false;
    const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    const int days[] = {31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return year > 0 && month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1];
  };
  const auto is_time = [&](const std::string& time) {
    if (std::sscanf(time.c_str(), "%2d:%2d:%2d%n", &hour, &minute, &second, &read) != 3 || read != 8)
      return false;
    if (hour > 23 || minute > 59 || second > 59) return false;
    std::size_t at = 8;
    if (at < time.size() && time[at] == '.') {
      const std::size_t end = time.find_first_not_of("0123456789", at + 1);
      if (end == time.npos || end == at + 1) return false;
      at = end;
    }
    const std::string zone = time.substr(at);
    if (zone == "Z") return true;
    return zone.size() == 6 && (zone[0] == '+' || zone[0] == '-') &&
           std::sscanf(zone.c_str() + 1, "%2d:%2d%n", &hour, &minute, &read) == 2 && read == 5 && hour < 24 &&
           minute < 60;
  };
  if (format == "date") return is_date(text);
  if (format == "time") return is_time(text);
  if (format == "date-time")
    return count > 11 && text[10] == 'T' && is_date(text.substr(0, 10)) && is_time(text.substr(11));
  if (format == "ipv4") {
    int parts[4];
    char shortest[16];
    if (std::sscanf(text.c_str(), "%3d.%3d.%3d.%3d%n", &parts[0], &parts[1], &parts[2], &parts[3], &read) !=
            4 ||
        read != count || std::any_of(parts, parts + 4, [](int part) { return part < 0 || part > 255; }))
      return false;
    std::snprintf(shortest, sizeof shortest, "%d.%d.%d.%d", parts[0], parts[1], parts[2], parts[3]);
    return text == shortest;
  }
  if (format == "uuid") {
    if (count != 36) return false;
    for (int i = 0; i < count; ++i)
      if (i == 8 || i == 13 || i == 18 || i == 23 ? text[i] != '-' : !std::isxdigit(text[i])) return false;
    return true;
  }
  const std::size_t at = text.find('@');  // email
  return at != text.npos && at >= 1 && at <= 64 && at + 1 < text.size() && text.size() - at - 1 <= 255 &&
         text.find('@', at + 1) == text.npos && text.find("..") == text.npos && text[0] != '.' &&
         text[at - 1] != '.' && text.find(' ') == text.npos;
}

inline bool has_type(const OrderedJson& value, const std::string& type) {
  if (type == "integer") return value.is_number() && value.get<double>() == std::floor(value.get<double>());
  return type == value.type_name();  // nlohmann's names are JSON Schema's
}

inline bool validates(const OrderedJson& value, const OrderedJson& schema, const OrderedJson& document) {
  if (schema.is_boolean()) return schema.get<bool>();
  const auto of = [&](const OrderedJson& part) { return validates(value, part, document); };
  if (schema.contains("$ref")) {
    const OrderedJson::json_pointer to(schema["$ref"].get<std::string>().substr(1));
    if (!validates(value, document.at(to), document)) return false;
  }
  if (schema.contains("const") && value != schema["const"]) return false;
  if (schema.contains("enum")) {
    const auto& all = schema["enum"];
    if (std::find(all.begin(), all.end(), value) == all.end()) return false;
  }
  if (schema.contains("anyOf") && std::none_of(schema["anyOf"].begin(), schema["anyOf"].end(), of))
    return false;
  if (schema.contains("oneOf") && std::count_if(schema["oneOf"].begin(), schema["oneOf"].end(), of) != 1)
    return false;
  if (schema.contains("allOf") && !std::all_of(schema["allOf"].begin(), schema["allOf"].end(), of))
    return false;
  if (schema.contains("type")) {
    const OrderedJson types =
        schema["type"].is_array() ? schema["type"] : OrderedJson::array({schema["type"]});
    if (std::none_of(types.begin(), types.end(),
                     [&](const OrderedJson& type) { return has_type(value, type); }))
      return false;
  }
  if (value.is_string()) {
    const std::size_t count = code_points(value.get<std::string>());
    if (count < schema.value("minLength", std::size_t{0}) || count > schema.value("maxLength", SIZE_MAX))
      return false;
    const auto text = value.get<std::string>();
    if (schema.contains("pattern") && !finds(schema["pattern"].get<std::string>(), text)) return false;
    if (schema.contains("format") && !has_format(text, schema["format"].get<std::string>())) return false;
  }
  if (value.is_number()) {
    const double number = value.get<double>();
    if (schema.contains("minimum") && number < schema["minimum"].get<double>()) return false;
    if (schema.contains("maximum") && number > schema["maximum"].get<double>()) return false;
    if (schema.contains("exclusiveMinimum") && number <= schema["exclusiveMinimum"].get<double>())
      return false;
    if (schema.contains("exclusiveMaximum") && number >= schema["exclusiveMaximum"].get<double>())
      return false;
    if (schema.contains("multipleOf") && std::fmod(number, schema["multipleOf"].get<double>()) != 0)
      return false;
  }
  if (value.is_array()) {
    if (value.size() < schema.value("minItems", std::size_t{0}) ||
        value.size() > schema.value("maxItems", SIZE_MAX))
      return false;
    if (schema.value("uniqueItems", false)) {
      const Json items = Json::parse(value.dump());  // whose objects have no order
      for (auto one = items.begin(); one != items.end(); ++one)
        if (std::find(items.begin(), one, *one) != one) return false;
    }
    if (schema.contains("items"))
      for (const OrderedJson& item : value)
        if (!validates(item, schema["items"], document)) return false;
  }
  if (value.is_object()) {
    for (const OrderedJson& name : schema.value("required", OrderedJson::array()))
      if (!value.contains(name.get<std::string>())) return false;
    if (value.size() < schema.value("minProperties", std::size_t{0}) ||
        value.size() > schema.value("maxProperties", SIZE_MAX))
      return false;
    const OrderedJson properties = schema.value("properties", OrderedJson::object()),
                      patterns = schema.value("patternProperties", OrderedJson::object());
    for (const auto& [name, member] : value.items()) {
      bool known = properties.contains(name);
      if (known && !validates(member, properties[name], document)) return false;
      for (const auto& [pattern, rule] : patterns.items()) {
        if (!finds(pattern, name)) continue;
        known = true;
        if (!validates(member, rule, document)) return false;
      }
      if (!known && schema.contains("additionalProperties") &&
          !validates(member, schema["additionalProperties"], document))
        return false;
    }
  }
  return true;
}

}  // namespace dgq::test
