// runtime/json_frames.h - what the phase and value of a frame mean. Internal to json_automaton.cpp and json_steps.cpp.
#pragma once

#include <algorithm>
#include <utility>

#include "runtime/json_automaton.h"

namespace dgq {

enum class JsonAutomaton::Phase : std::uint8_t {
  root,     // nothing is there yet
  literal,  // value: bytes so far
  // string: text_value
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
  // integer with limits. value: the magnitude so far
  positive,
  negative_minus,
  negative,
  // object. value: index of the property, with key_value
  object_open,
  key,
  before_value,  // after the ':'; the space may follow
  at_value,      // after the space
  in_value,      // waits for its part
  after_value,
  comma,
  comma_space,
  // map
  map_open,
  in_key,
  after_key,
  map_before_value,
  map_at_value,
  in_map_value,
  map_after_value,
  map_comma,
  map_comma_space,
  // array. value: items that are there or begun, up to where more make no difference
  array_open,
  in_item,
  after_item,
  array_comma,
  array_comma_space,
};

namespace json_frames {

// How many digits after `prefix` are needed at least for a number within [low, high], all >= 0; -1: none leads there.
inline int digits_to(std::int64_t prefix, std::int64_t low, std::int64_t high) {
  std::int64_t least = prefix, most = prefix;
  for (int count = 0; least <= high; ++count) {
    if (most >= low) return count;
    if (prefix == 0) break;  // no digit follows a leading zero
    least *= 10, most = most * 10 + 9;
  }
  return -1;
}

// The magnitudes of a node's integers with this sign; low > high: none.
inline std::pair<std::int64_t, std::int64_t> magnitudes(const GrammarNode& node, bool negative) {
  if (negative) return {std::max<std::int64_t>(1, -node.high), -node.low};
  return {std::max<std::int64_t>(0, node.low), node.high};
}

inline bool is_free(const GrammarNode& node) {
  return node.low == -GrammarNode::kLargest && node.high == GrammarNode::kLargest;
}

// Strings: code points so far, and what is left of an escape or a character.
inline std::int64_t text_value(std::int64_t count, std::int64_t left) { return count << 8 | left; }
inline std::int64_t count_of(std::int64_t value) { return value >> 8; }
inline std::int64_t left_of(std::int64_t value) { return value & 255; }

// Keys: the property, and bytes of its key so far.
inline std::int64_t key_value(std::size_t index, std::size_t at) {
  return static_cast<std::int64_t>(index << 32 | at);
}
inline std::size_t index_of(std::int64_t value) { return static_cast<std::size_t>(value) >> 32; }
inline std::size_t at_of(std::int64_t value) { return static_cast<std::size_t>(value) & 0xFFFFFFFF; }

}  // namespace json_frames
}  // namespace dgq
