#include "bench/limits.h"

#include <unistd.h>

#include <algorithm>
#include <cstdint>

#include "bench/ceiling.h"
#include "runtime/parallel.h"

namespace dgq::bench {
namespace {

constexpr std::size_t kLine = 64;
using Vector [[gnu::vector_size(16)]] = std::uint64_t;

// Four streams and a prefetch read up to 1.5 times as fast as one plain stream (measured on a virtual Xeon): a limit
// that a kernel's own prefetching could exceed would be none.
std::uint64_t read_all(const std::byte* memory, std::size_t bytes) {
  constexpr std::size_t kStreams = 4, kAhead = 1024;
  const std::size_t part = bytes / (kStreams * kLine) * kLine;
  Vector sums[kLine / sizeof(Vector)] = {};
  for (std::size_t i = 0; i < part; i += kLine)
    for (std::size_t stream = 0; stream < kStreams; ++stream) {
      const std::byte* line = memory + stream * part + i;
      __builtin_prefetch(line + kAhead);
      for (std::size_t v = 0; v < std::size(sums); ++v) sums[v] ^= reinterpret_cast<const Vector*>(line)[v];
    }
  const Vector sum = sums[0] ^ sums[1] ^ sums[2] ^ sums[3];
  return sum[0] ^ sum[1];
}

template <class T>
void keep(T value) {
  __asm__ volatile("" : : "r"(value));
}

}  // namespace

std::size_t cold_bytes() {
  constexpr std::size_t kLeast = std::size_t{256} << 20;
  long largest = 0;
  for (const int level : {_SC_LEVEL2_CACHE_SIZE, _SC_LEVEL3_CACHE_SIZE, _SC_LEVEL4_CACHE_SIZE})
    largest = std::max(largest, ::sysconf(level));
  return std::max(kLeast, 2 * static_cast<std::size_t>(largest));
}

std::vector<ReadLimit> measure_read(std::span<const std::byte> memory, int threads, const Timer& timer) {
  std::vector<ReadLimit> limits;
  for (int count = 1;; count = std::min(2 * count, threads)) {
    const double seconds = timer.median([&] {
      parallel_ranges(count, memory.size() / kLine, [&](std::size_t begin, std::size_t end, int) {
        keep(read_all(memory.data() + begin * kLine, (end - begin) * kLine));
      });
    });
    limits.push_back({count, static_cast<double>(memory.size()) / seconds});
    if (count == threads) return limits;
  }
}

std::vector<MultiplyAddLimit> measure_multiply_adds(const std::vector<std::string>& isas, int threads,
                                                    const Timer& timer) {
  constexpr std::size_t kMacs =
      10'000'000;  // of one thread in one call: well above what starting a loop takes
  std::vector<MultiplyAddLimit> limits;
  for (const Ceiling& ceiling : ceilings()) {
    if (std::find(isas.begin(), isas.end(), ceiling.isa) == isas.end()) continue;
    const std::size_t rounds = kMacs / ceiling.macs;
    const auto count = static_cast<std::size_t>(threads);
    const double seconds = timer.median([&] {
      parallel_ranges(threads, count, [&](std::size_t, std::size_t, int) { ceiling.run(rounds); });
    });
    limits.push_back(
        {ceiling.isa, ceiling.instructions, static_cast<double>(count * rounds * ceiling.macs) / seconds});
  }
  return limits;
}

}  // namespace dgq::bench
