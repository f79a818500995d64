// runtime/string_bytes.h - how a JSON string holds characters: UTF-8, with the shortest escape for those that need one.
#pragma once

#include <compare>
#include <vector>

#include "runtime/string_pattern_syntax.h"

namespace dgq {

struct ByteRange {
  unsigned char low, high;
  auto operator<=>(const ByteRange&) const = default;
};
using ByteSequence = std::vector<ByteRange>;

// The characters of the set: all sequences of one byte out of each range.
std::vector<ByteSequence> bytes_of(const CodePoints& set);

}  // namespace dgq
