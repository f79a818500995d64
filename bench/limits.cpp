#include "bench/limits.h"

#include <unistd.h>

#include <algorithm>
#include <cstdint>

#include "bench/ceiling.h"
#include "bench/timing.h"
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

double Limits::read_now(int threads) {
  constexpr std::size_t kPiece = std::size_t{32} << 20;  // of one call; the next one goes on behind it
  const std::size_t piece = std::min(kPiece, memory_.size());
  const double seconds = seconds_per_call(min_time_s_, [&] {
    if (position_ + piece > memory_.size()) position_ = 0;
    const std::byte* memory = memory_.data() + position_;
    parallel_ranges(threads, piece / kLine, [&](std::size_t begin, std::size_t end, int) {
      keep(read_all(memory + begin * kLine, (end - begin) * kLine));
    });
    position_ += piece;
  });
  auto limit = std::find_if(read_.begin(), read_.end(),
                            [&](const ReadLimit& known) { return known.threads == threads; });
  if (limit == read_.end()) limit = read_.insert(limit, {threads, {}});
  return limit->bytes_per_s.emplace_back(static_cast<double>(piece) / seconds);
}

double Limits::multiply_adds_now(std::string_view isa) {
  constexpr std::size_t kRounds = 20000;  // of one call: at least 50 us, far above what starting a loop takes
  const auto all = ceilings();
  const auto ceiling = std::find_if(all.begin(), all.end(), [&](const Ceiling& c) { return c.isa == isa; });
  if (ceiling == all.end()) return 0;
  const auto count = static_cast<std::size_t>(threads_);
  const double seconds = seconds_per_call(min_time_s_, [&] {
    parallel_ranges(threads_, count, [&](std::size_t, std::size_t, int) { ceiling->run(kRounds); });
  });
  auto limit = std::find_if(multiply_adds_.begin(), multiply_adds_.end(),
                            [&](const MultiplyAddLimit& known) { return known.isa == isa; });
  if (limit == multiply_adds_.end())
    limit = multiply_adds_.insert(limit, {ceiling->isa, ceiling->instructions, threads_, {}});
  return limit->macs_per_s.emplace_back(static_cast<double>(count * kRounds * ceiling->macs) / seconds);
}

}  // namespace dgq::bench
