#include "runtime/parallel.h"

#include <omp.h>
#include <sched.h>

#include <fstream>
#include <set>
#include <string>
#include <utility>

namespace dgq {

// Always the same number of threads: libgomp ends and restarts threads when it changes.
void run_ranges(int threads, std::size_t count, RangeBody body, const void* context) {
#pragma omp parallel num_threads(threads)
  {
    const auto thread = static_cast<std::size_t>(omp_get_thread_num());
    const auto team = static_cast<std::size_t>(omp_get_num_threads());
    const std::size_t begin = count * thread / team, end = count * (thread + 1) / team;
    if (begin < end) body(context, begin, end, static_cast<int>(thread));
  }
}

int physical_cores() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0) return 1;
  std::set<std::string> cores;  // the kernel's list of the hardware threads of one core names the core
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) +
                       "/topology/thread_siblings_list");
    std::string siblings;
    if (!std::getline(file, siblings)) siblings = std::to_string(cpu);
    cores.insert(std::move(siblings));
  }
  return cores.empty() ? 1 : static_cast<int>(cores.size());
}

}  // namespace dgq
