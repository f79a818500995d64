// bench/limits.h - what this machine can do at most, measured in the run whose results are put beside it.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "bench/timing.h"

namespace dgq::bench {

// Memory to read from so that nothing of it is still in a cache: twice the last-level cache that the machine reports, at
// least 256 MiB.
std::size_t cold_bytes();

struct ReadLimit {
  int threads;
  double bytes_per_s;
};
// Threads 1, 2, 4, ... and `threads`, each reading its own part of `memory`.
std::vector<ReadLimit> measure_read(std::span<const std::byte> memory, int threads, const Timer& timer);

struct MultiplyAddLimit {
  std::string isa, instructions;
  double macs_per_s;
};
// Of the `isas` (names of bench/ceiling.h, which this CPU can run; others are left out), `threads` threads together.
std::vector<MultiplyAddLimit> measure_multiply_adds(const std::vector<std::string>& isas, int threads,
                                                    const Timer& timer);

}  // namespace dgq::bench
