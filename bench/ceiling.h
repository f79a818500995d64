// bench/ceiling.h - the most multiply-adds that an ISA can do: loops of nothing but its own, from register to register.
#pragma once

#include <cstddef>
#include <span>

namespace dgq::bench {

struct Ceiling {
  const char* isa;  // as in the tables of kernels/table.h: what the rows of that name need, this needs
  const char* instructions;                  // that the loop is made of
  std::size_t macs;                          // int8 multiply-adds of one round
  void (*run)(std::size_t rounds) noexcept;  // rounds > 0
};

std::span<const Ceiling> ceilings();  // of this architecture; empty where there is none

}  // namespace dgq::bench
