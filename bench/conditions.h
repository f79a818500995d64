// bench/conditions.h - what a machine was doing when a benchmark began and when it ended.
#pragma once

#include <sys/types.h>

#include <filesystem>

#include "base/json.h"

namespace dgq::bench {

// clock_mhz (median over CPUs, from cpufreq or /proc/cpuinfo), throttled (events so far, of all CPUs), cpu_s and steal_s (so far: of
// all CPUs, and what the hypervisor gave to others), load (of the last minute), temperature_c (the hottest zone); "unknown" says why one is null.
Json conditions_now(const std::filesystem::path& root = "/");

// {"before", "after", "throttled": events between them, "steal_share": of the CPU time between them}; null where it is not known.
Json conditions_between(const Json& before, const Json& after);

// The most memory that this process, or another one that runs, ever had resident, in bytes.
Result<std::uint64_t> peak_memory_bytes();
Result<std::uint64_t> peak_memory_bytes(pid_t process);

}  // namespace dgq::bench
