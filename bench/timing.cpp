#include "bench/timing.h"

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace dgq::bench {

double seconds_per_call(double min_time_s, const std::function<void()>& operation) {
  using Clock = std::chrono::steady_clock;
  constexpr double kMostCalls = 1e9, kGrowth = 10, kMargin = 1.4;
  for (double calls = 1;;) {
    const auto count = static_cast<std::uint64_t>(calls);
    const auto start = Clock::now();
    for (std::uint64_t i = 0; i < count; ++i) operation();
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (seconds >= min_time_s || calls >= kMostCalls) return seconds / static_cast<double>(count);
    // As many as should take a little longer than asked for, by what these took.
    calls = std::clamp(kMargin * calls * min_time_s / std::max(seconds, 1e-9), calls + 1, calls * kGrowth);
  }
}

}  // namespace dgq::bench
