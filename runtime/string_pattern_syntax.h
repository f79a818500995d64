// runtime/string_pattern_syntax.h - regular expressions as JSON Schema's "pattern" has them (ECMAScript's), as a tree.
//
// Read: characters; \t \n \r \f \v \0 \xHH \uHHHH, and \ before punctuation; . \d \D \w \W \s \S; classes; groups ( ) and
// (?: ); |; ? * + {m} {m,} {m,n}, lazy ones too, which match the same strings; ^ at the beginning and $ at the end of a
// choice of the whole pattern. All else is refused by name: other anchors, \b, look-around, references, \p, flags.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace dgq {

// Ascending, disjoint, first and last of each; never surrogates.
using CodePoints = std::vector<std::pair<char32_t, char32_t>>;

struct PatternNode {
  enum class Kind : std::uint8_t { set, sequence, choice, repeat };
  static constexpr std::uint32_t kMany = UINT32_MAX;

  Kind kind = Kind::sequence;
  CodePoints set = {};
  std::vector<PatternNode> parts = {};  // repeat: one
  std::uint32_t low = 0, high = 0;      // repeat: times; high may be kMany
};

inline constexpr std::size_t kMaxPatternBytes = 4096, kMaxPatternDepth = 32;
inline constexpr std::uint32_t kMaxPatternCount = 4096;  // of {m,n}

// The strings in which the pattern is found. unsupported: a construct, by name and place; invalid: no regular expression.
Result<PatternNode> parse_pattern(std::string_view pattern);

// Strings of so many code points, whichever.
PatternNode any_string(std::uint32_t low, std::uint32_t high);

}  // namespace dgq
