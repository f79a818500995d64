// bench/compare.h - what differs between runs: their set-ups first, then their speeds, and whether that is more than noise.
//
// Rows belong together when kind and `of` are equal; where an ISA or a model is all that differs, that is called out. Speeds are medians
// of the samples that count. Runs that took turns (Run::session) are compared pair by pair, since what disturbs one round disturbs both:
// Wilcoxon's signed-rank test of the ratios of the rounds' medians. Others by the Mann-Whitney U test. Significant: p < kAlpha.
#pragma once

#include <string>
#include <vector>

#include "bench/run.h"
#include "bench/significance.h"

namespace dgq::bench {

inline constexpr double kAlpha = 0.01;
inline constexpr int kLeastPairs = 8;  // whose signs can be that significant: 2 / 2^8 < kAlpha

struct ComparedRow {
  std::string name;  // "tg64, 2 threads"
  std::string unit;
  std::size_t samples_a, samples_b;
  double median_a, median_b;
  Interval interval_a, interval_b;
  double speed;  // of b by a: above 1, b is faster
  Interval speed_interval;
  double p;
  std::string test;  // "Mann-Whitney U", "signed-rank, 10 pairs"
  bool significant;
};

struct Comparison {
  std::vector<std::string> differences;           // of the set-ups: "commit: 1a2b and 3c4d"
  std::vector<std::string> not_comparable;        // "different threads: not comparable (2 and 1)"
  std::vector<std::string> only_in_a, only_in_b;  // rows that the other side has nothing like
  std::vector<ComparedRow> rows;
};

// Several runs on a side count as one; of rows measured more than once, the latest.
Comparison compare(const std::vector<Run>& a, const std::vector<Run>& b);

// Samples of two runs that took turns, `rounds` times: the medians of each round, in pairs.
struct PairedSpeed {
  double speed;
  Interval interval;
  double p;
};
PairedSpeed compare_rounds(const std::vector<double>& a, const std::vector<double>& b, std::size_t rounds,
                           bool more_is_better);

}  // namespace dgq::bench
