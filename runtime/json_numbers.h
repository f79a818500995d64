// runtime/json_numbers.h - how a number with limits may go on. Internal to json_grammar.cpp, json_automaton.cpp, json_steps.cpp.
//
// Everything is a whole number of parts of 1 / unit_of(node), and a magnitude: the sign is written before.
#pragma once

#include <algorithm>
#include <numeric>
#include <utility>

#include "runtime/json_grammar.h"

namespace dgq {

struct Magnitudes {
  std::int64_t low, high;  // low > high: none
};
// Those of a node's numbers with this sign; zero has none.
inline Magnitudes magnitudes(const GrammarNode& node, bool negative) {
  if (negative) return {std::max<std::int64_t>(1, -node.high), -node.low};
  return {std::max<std::int64_t>(0, node.low), node.high};
}

struct Digits {
  static constexpr int kWhole = -1;
  std::int64_t value = 0;  // all digits so far, without the point
  int places = kWhole;     // how many of them stand after it; kWhole: there is no point yet
};

// The first step that is a multiple of both; beyond kLargest they have only 0 in common.
inline std::int64_t common_step(std::int64_t a, std::int64_t b) {
  const std::int64_t part = a / std::gcd(a, b);
  return part > GrammarNode::kLargest / b ? GrammarNode::kLargest + 1 : part * b;
}

// Whether one of low..high is a whole number of steps.
inline bool has_multiple(std::int64_t low, std::int64_t high, std::int64_t step) {
  return low <= high && high / step * step >= low;
}

// Bytes of the shortest way from these digits to the end of one of the node's numbers; 0: it may end here; -1: none leads
// there.
inline int bytes_to_end(const Digits& digits, const GrammarNode& node, bool negative) {
  const int places = places_of(node);
  const Magnitudes within = magnitudes(node, negative);
  // What begins with these: from `least` to `most`, of which those with p places are the whole numbers of 10^(places - p).
  const auto ends_with = [&](std::int64_t least, std::int64_t most, int p) {
    return has_multiple(std::max(within.low, least), std::min(within.high, most),
                        common_step(node.step, power_of_ten(places - p)));
  };
  if (digits.places != Digits::kWhole) {
    const std::int64_t step = power_of_ten(places - digits.places), least = digits.value * step;
    for (int p = std::max(digits.places, 1); p <= places; ++p)
      if (ends_with(least, least + step - 1, p)) return p - digits.places;
    return -1;
  }
  const std::int64_t unit = power_of_ten(places);
  std::int64_t least = digits.value, most = digits.value;
  int best = -1;
  for (int count = 0; least <= within.high / unit && (best < 0 || count < best); ++count) {
    for (int p = 0; p <= places; ++p) {
      const int bytes = count + (p == 0 ? 0 : 1 + p);
      if ((best < 0 || bytes < best) && ends_with(least * unit, most * unit + unit - 1, p)) best = bytes;
    }
    if (digits.value == 0) break;  // no digit follows a leading zero
    least *= 10, most = most * 10 + 9;
  }
  return best;
}

// The shortest number with this sign, without the sign; -1: there is none.
inline int shortest_magnitude(const GrammarNode& node, bool negative) {
  int best = -1;
  for (std::int64_t digit = 0; digit <= 9; ++digit) {
    const int rest = bytes_to_end({digit}, node, negative);
    if (rest >= 0 && (best < 0 || 1 + rest < best)) best = 1 + rest;
  }
  return best;
}

// Of a node with limits that hold for some number.
inline int shortest_number(const GrammarNode& node) {
  const int positive = shortest_magnitude(node, false), negative = shortest_magnitude(node, true);
  return positive < 0 ? 1 + negative : negative < 0 ? positive : std::min(positive, 1 + negative);
}

}  // namespace dgq
