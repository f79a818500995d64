// bench/timing.h - how long an operation takes.
#pragma once

#include <functional>

namespace dgq::bench {

// Seconds of one call: the mean of as many as take min_time_s together.
double seconds_per_call(double min_time_s, const std::function<void()>& operation);

}  // namespace dgq::bench
