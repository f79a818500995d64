// tests/runtime/json_validator.h - JSON Schema as its specification words it, as far as json_grammar.h reads it: the
// judge of what a JsonConstraint lets through, sharing no code with it.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>

#include "base/json.h"
#include "runtime/tokenizer_utf8.h"

namespace dgq::test {

inline std::size_t code_points(const std::string& text) {
  std::size_t count = 0;
  for (std::size_t at = 0; at < text.size(); at += utf8_length(std::string_view(text).substr(at))) ++count;
  return count;
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
  }
  if (value.is_number()) {
    const double number = value.get<double>();
    if (schema.contains("minimum") && number < schema["minimum"].get<double>()) return false;
    if (schema.contains("maximum") && number > schema["maximum"].get<double>()) return false;
    if (schema.contains("exclusiveMinimum") && number <= schema["exclusiveMinimum"].get<double>())
      return false;
    if (schema.contains("exclusiveMaximum") && number >= schema["exclusiveMaximum"].get<double>())
      return false;
  }
  if (value.is_array()) {
    if (value.size() < schema.value("minItems", std::size_t{0}) ||
        value.size() > schema.value("maxItems", SIZE_MAX))
      return false;
    if (schema.contains("items"))
      for (const OrderedJson& item : value)
        if (!validates(item, schema["items"], document)) return false;
  }
  if (value.is_object()) {
    for (const OrderedJson& name : schema.value("required", OrderedJson::array()))
      if (!value.contains(name.get<std::string>())) return false;
    const OrderedJson properties = schema.value("properties", OrderedJson::object());
    for (const auto& [name, member] : value.items()) {
      const OrderedJson& rule = properties.contains(name)                 ? properties[name]
                                : schema.contains("additionalProperties") ? schema["additionalProperties"]
                                                                          : OrderedJson(true);
      if (!validates(member, rule, document)) return false;
    }
  }
  return true;
}

}  // namespace dgq::test
