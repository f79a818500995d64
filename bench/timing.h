// bench/timing.h - how long an operation takes, by Google Benchmark.
#pragma once

#include <functional>
#include <vector>

namespace dgq::bench {

// Seconds of one call: one sample per repetition, each the mean of as many calls as take min_time_s. Not thread-safe.
struct Timer {
  double min_time_s;
  int repetitions;
  std::vector<double> samples(const std::function<void()>& operation) const;
  double median(const std::function<void()>& operation) const;
};

}  // namespace dgq::bench
