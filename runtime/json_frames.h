// runtime/json_frames.h - what the phase and value of a frame mean. Internal to json_automaton.cpp and json_steps.cpp.
#pragma once

#include "runtime/json_automaton.h"
#include "runtime/json_numbers.h"

namespace dgq {

enum class JsonAutomaton::Phase : std::uint8_t {
  root,      // nothing is there yet
  literal,   // value: bytes so far
  matching,  // string with a pattern. value: the state of its automaton
  // other string: text_value
  chars,
  escape,        // after the backslash
  hex,           // left: digits that are missing; of surrogates there are none
  hex_d,         // after \ud, which may only go on with 0..7
  character,     // left: continuation bytes that are missing
  character_e0,  // after byte E0, ED, F0, F4: the second byte has limits of its own (Unicode, table 3-7)
  character_ed,
  character_f0,
  character_f4,
  // number, and integer without limits. value: digits of this part
  minus,
  zero,
  whole,
  point,
  fraction,
  exponent,
  exponent_sign,
  exponent_digits,
  // number or integer with limits. value: the digits so far; after the point fraction_value
  positive,
  negative_minus,
  negative,
  positive_fraction,
  negative_fraction,
  // object. value: key_value
  object_open,
  key,
  before_value,  // after the ':'; the space may follow
  at_value,      // after the space
  in_value,      // waits for its part
  after_value,
  comma,
  comma_space,
  // map. value: key_value, of the pair of keys and values
  map_open,
  in_key,
  after_key,
  map_before_value,
  map_at_value,
  in_map_value,
  map_after_value,
  map_comma,
  map_comma_space,
  // array, set. value: items that are there or begun: their number, or of a set item_value of each
  array_open,
  in_item,
  after_item,
  array_comma,
  array_comma_space,
};

namespace json_frames {

// Numbers with limits, after the point.
inline std::int64_t fraction_value(const Digits& digits) { return digits.value << 8 | digits.places; }
inline Digits fraction_of(std::int64_t value) { return {value >> 8, static_cast<int>(value & 255)}; }

// Strings: code points so far, and what is left of an escape or a character.
inline std::int64_t text_value(std::int64_t count, std::int64_t left) { return count << 8 | left; }
inline std::int64_t count_of(std::int64_t value) { return value >> 8; }
inline std::int64_t left_of(std::int64_t value) { return value & 255; }

// Keys: the property, bytes of its key so far, and members that are there or begun. A schema has bytes for fewer than 2^20 of
// any (kMaxSchemaBytes), and limits are no higher (json_schema_scalars.cpp).
static_assert(kMaxSchemaBytes < 1 << 20);
inline std::int64_t key_value(std::size_t index, std::size_t at, std::int64_t members) {
  return static_cast<std::int64_t>(index << 20 | at) | members << 40;
}
inline std::size_t index_of(std::int64_t value) { return static_cast<std::size_t>(value) >> 20 & 0xFFFFF; }
inline std::size_t at_of(std::int64_t value) { return static_cast<std::size_t>(value) & 0xFFFFF; }
inline std::int64_t members_of(std::int64_t value) { return value >> 40; }

// One more; beyond what the node's limits ask numbers make no difference.
inline std::int64_t counted(const GrammarNode& node, std::int64_t count) {
  return count + (node.high != GrammarNode::kMany || count < node.low ? 1 : 0);
}
// Of an object with so many members: property `index` may come, and then all that are required.
inline bool has_room(const GrammarNode& node, std::int64_t members, std::size_t index) {
  return members + 1 + node.required_from[index + 1] <= node.high;
}

// Sets: a bit of every literal.
inline std::int64_t item_value(std::size_t index) { return std::int64_t{1} << index; }
inline bool has_item(std::int64_t value, std::size_t index) { return (value & item_value(index)) != 0; }

}  // namespace json_frames
}  // namespace dgq
