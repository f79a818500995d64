// runtime/parallel.h - one loop over several threads.
#pragma once

#include <cstddef>

namespace dgq {

inline constexpr int kMaxThreads = 256;  // that a user may ask for when a model runs

// CPU cores of this machine that this process may use, without the second threads of one core. At least 1.
int physical_cores();

using RangeBody = void (*)(const void* context, std::size_t begin, std::size_t end, int thread);
void run_ranges(int threads, std::size_t count, RangeBody body, const void* context);

// Calls body(begin, end, thread) on up to `threads` threads; the ranges cut [0, count). A thread gets one or, of a long
// loop, several. thread < threads. With one thread or count <= 1 on the caller itself. body must not throw, nor call parallel_ranges. Every calling thread has
// helpers of its own, which start at its first loop, sleep between loops, and end with it.
template <class Body>
void parallel_ranges(int threads, std::size_t count, const Body& body) {
  if (threads <= 1 || count <= 1) {
    if (count > 0) body(std::size_t{0}, count, 0);
    return;
  }
  run_ranges(
      threads, count,
      [](const void* context, std::size_t begin, std::size_t end, int thread) {
        (*static_cast<const Body*>(context))(begin, end, thread);
      },
      &body);
}

}  // namespace dgq
