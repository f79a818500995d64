// runtime/json_grammar.h - which JSON texts a schema allows, as nodes that an automaton walks byte by byte.
//
// Texts are compact: no white space but one space that may follow a ',' or ':'. Properties come in the order of the
// schema. So the texts are a part of what the schema allows, and every one of them validates.
//
// Read of JSON Schema (draft 2020-12): type (also a list), enum, const, anyOf, oneOf whose choices exclude each other,
// allOf of one, or of objects that have properties, required and a boolean additionalProperties only, $ref to "#" and to places in the same document (recursion included), and
//   object    properties, required, additionalProperties, patternProperties (patterns of which none matches a name of another,
//             nor of `properties`), maxProperties, minProperties up to 1 or the number of `required`, or all of `properties`;
//             what is not in `properties` is written only where there are none, or where `required` names it
//   array     items, minItems, maxItems; uniqueItems of at most 48 constants
//   string    minLength, maxLength (code points); pattern (string_pattern_syntax.h); format: date, time, date-time, uuid,
//             email, ipv4
//   integer   minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf; at most 15 digits
//   number    at most 15 digits, 17 after the point, and an exponent of two; with one of these limits at most 9 digits and 6
//             after the point. multipleOf a number of 64ths, so that a division of doubles says the same
// title, description, default, examples and the like change nothing. Any other keyword is refused by name.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "runtime/string_pattern.h"

namespace dgq {

using GrammarNodeId = std::uint32_t;

struct GrammarProperty {
  std::string key;  // as it is written: "name":
  GrammarNodeId value = 0;
  bool required = false;
};

struct GrammarNode {
  enum class Kind : std::uint8_t { any_of, literal, string, number, integer, object, map, array, set };
  static constexpr std::int64_t kMany = INT64_MAX;
  static constexpr std::int64_t kLargest = 999'999'999'999'999;  // of low and high; -kLargest is the smallest

  Kind kind = Kind::any_of;
  std::string text;  // literal: all of it
  // any_of: choices; array: the items; set: literals, each of them an item once at most, the shortest first; map: the values,
  // those of keys[i] at i
  std::vector<GrammarNodeId> parts, keys;
  std::vector<GrammarProperty> properties;  // object
  // string: code points; array, set: items; map, object: members, of which low is 0 or 1; integer, number: if `limited`, the
  // value in parts of 1 / unit_of(), which is a multiple of step
  std::int64_t low = 0, high = kMany, step = 1;
  bool limited = false;
  std::shared_ptr<const StringPattern>
      pattern;  // string: says all there is to say about its characters; may be null

  // The shortest text: its bytes, and how deep its values nest (a scalar is 1). kEndless: there is none.
  static constexpr std::uint32_t kEndless = 1u << 30;
  std::uint32_t least_bytes = kEndless, height = kEndless;
  // object, by index: bytes after a value for those required from there on, and '}'; how many these are
  std::vector<std::uint32_t> rest, required_from;
};

// Numbers with limits have so many digits after the point at most.
inline constexpr int kLimitedPlaces = 6;
inline int places_of(const GrammarNode& node) {
  return node.kind == GrammarNode::Kind::number ? kLimitedPlaces : 0;
}
inline std::int64_t power_of_ten(int exponent) {  // 0..18
  std::int64_t power = 1;
  for (; exponent > 0; --exponent) power *= 10;
  return power;
}
inline std::int64_t unit_of(const GrammarNode& node) { return power_of_ten(places_of(node)); }

struct JsonGrammar {
  std::vector<GrammarNode> nodes;
  GrammarNodeId root = 0;
  const GrammarNode& operator[](GrammarNodeId id) const { return nodes[id]; }
};

inline constexpr std::uint32_t kMaxJsonDepth = 32;         // of the texts
inline constexpr std::size_t kMaxSetItems = 48;            // a set of them is one number
inline constexpr std::size_t kMaxSchemaBytes = 256 << 10;  // of a schema as compact JSON

// unsupported: a keyword, by name and place; invalid: not a schema, or one that no text can satisfy.
Result<JsonGrammar> compile_json_schema(const OrderedJson& schema);

// Any object, its values of any kind.
JsonGrammar any_json_object();

// Calls of functions: {"name":NAME,"arguments":{...}}, of one of these, whose arguments its schema allows. Errors name the
// function.
struct CallSchema {
  std::string name;
  const OrderedJson* arguments;
};
Result<JsonGrammar> compile_calls(std::span<const CallSchema> calls);

// Sets least_bytes, height and rest of all nodes. For compile_json_schema and tests.
void measure(JsonGrammar& grammar);

}  // namespace dgq
