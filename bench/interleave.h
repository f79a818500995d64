// bench/interleave.h - two benchmarks in turns, A B A B, so that what disturbs one disturbs the other.
#pragma once

#include <string>
#include <vector>

#include "bench/progress.h"
#include "bench/run.h"

namespace dgq::bench {

// Command lines that print one run as JSON each (dgq bench ... --json --no-save), the program first.
struct InterleavePlan {
  std::vector<std::string> a, b;
  int rounds = 40;
};

// The two runs, with the samples of all rounds in order and a session in common. Errors name the side.
Result<std::vector<Run>> interleave(const InterleavePlan& plan, const Progress& progress);

// Rounds of the same rows, in any order, as one run: samples and limits of all, the median of each figure, the conditions from the
// first to the last. unsupported: a round has other rows. Precondition: not empty.
Result<Run> merge_rounds(const std::vector<Run>& rounds);

}  // namespace dgq::bench
