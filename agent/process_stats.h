// agent/process_stats.h - what this process takes of the machine, as /proc has it.
#pragma once

#include <cstdint>

namespace dgq::agent {

struct ProcessStats {
  std::uint64_t resident_bytes = 0;   // mapped weights included, as far as they are in memory
  std::uint64_t anonymous_bytes = 0;  // without what is mapped from files
  std::uint64_t threads = 0, open_fds = 0;
  double cpu_s = 0;
};

// 0 where /proc does not say.
ProcessStats process_stats();

}  // namespace dgq::agent
