#include "agent/process_stats.h"

#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>

namespace dgq::agent {

ProcessStats process_stats() {
  ProcessStats stats;
  constexpr std::uint64_t kKib = 1024;
  std::ifstream status("/proc/self/status");
  std::uint64_t value;
  for (std::string name; status >> name; status.ignore(4096, '\n')) {
    if (name == "VmRSS:" && status >> value) stats.resident_bytes = value * kKib;
    if (name == "RssAnon:" && status >> value) stats.anonymous_bytes = value * kKib;
    if (name == "Threads:" && status >> value) stats.threads = value;
  }
  std::error_code error;
  std::filesystem::directory_iterator fds("/proc/self/fd", error), end;
  for (; !error && fds != end; fds.increment(error)) ++stats.open_fds;
  if (stats.open_fds > 0) --stats.open_fds;  // the one that lists them
  timespec cpu{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
  stats.cpu_s = static_cast<double>(cpu.tv_sec) + static_cast<double>(cpu.tv_nsec) / 1e9;
  return stats;
}

}  // namespace dgq::agent
