// runtime/string_pattern.h - the strings that match regular expressions, as an automaton over the bytes between the quotes of
// a JSON text.
//
// Every character has one way to be written: itself, or the shortest escape where JSON needs one. From every state an end
// can be reached.
#pragma once

#include <bitset>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/string_pattern_syntax.h"

namespace dgq {

class StringPattern {
 public:
  using State = std::uint32_t;
  static constexpr State kStart = 0, kDead = UINT32_MAX;

  State next(State state, unsigned char byte) const {
    for (std::size_t i = first_edge_[state]; i < first_edge_[state + 1]; ++i)
      if (byte >= edges_[i].low && byte <= edges_[i].high) return edges_[i].to;
    return kDead;
  }
  // Bytes of the shortest way to an end; 0: the string may end here.
  std::uint32_t least(State state) const { return least_[state]; }
  // Bytes of some shortest way from every state in which a character is complete.
  const std::bitset<256>& needed() const { return needed_; }

  // What the patterns of one schema may take together; what is made is taken off.
  struct Budget {
    std::size_t parts = 1 << 17;  // of the patterns, after counted repetition
    std::size_t edges = 1 << 19;  // of the automata
    std::size_t steps = 1 << 21;  // of the work
  };
  // Strings that match all of them. invalid: there is none; unsupported: over the budget.
  static Result<StringPattern> make(std::span<const PatternNode> patterns, Budget& budget);

 private:
  friend class StringPatternBuilder;

  struct Edge {
    unsigned char low, high;
    State to;
  };
  std::vector<Edge> edges_;              // of a state: disjoint, ascending
  std::vector<std::size_t> first_edge_;  // by state, and where the last one's end
  std::vector<std::uint32_t> least_;
  std::bitset<256> needed_;
};

}  // namespace dgq
