// kernels/x86/prefetch.h - what the x86 kernel files ask for ahead, each with its own copy. Into L2: L1 has 16 buffers for
// lines on their way, too few to wait for memory in.
#pragma once

#include <immintrin.h>

#include "kernels/gemm_q_loops.h"

namespace dgq {
namespace {

// Decode reads every weight once, in order, and is bound by memory. Where the hardware's prefetch stops at page borders the
// lines are asked for ahead; where it does not (kHwStreams), not at all.
enum class Lines { asked_for, streamed };
constexpr std::size_t kPrefetchBytes = 4096;
template <std::size_t kAhead = kPrefetchBytes>
DGQ_INLINE void prefetch(const void* p) {
  _mm_prefetch(static_cast<const char*>(p) + kAhead, _MM_HINT_T1);
}
DGQ_INLINE void prefetch(Steps<4> q) { prefetch(q.low); }
DGQ_INLINE void prefetch(Steps<6> q) { prefetch(q.low), prefetch<kPrefetchBytes / 2>(q.high); }

// The same for code that takes many instructions for a line: few lines fit into the core's window, so that waiting for L2
// shows, and each line is asked for once more on its way to L1 (avx2: 13.5 -> 15.5 GB/s).
constexpr std::size_t kFarBytes = 3584, kNearBytes = 640;
template <std::size_t kFar = kFarBytes, std::size_t kNear = kNearBytes>
DGQ_INLINE void prefetch_twice(const void* p) {
  prefetch<kFar>(p);
  _mm_prefetch(static_cast<const char*>(p) + kNear, _MM_HINT_T0);
}
DGQ_INLINE void prefetch_twice(Steps<4> q) { prefetch_twice(q.low); }
DGQ_INLINE void prefetch_twice(Steps<6> q) {
  prefetch_twice(q.low), prefetch_twice<kFarBytes / 2, kNearBytes / 2>(q.high);
}

// Prefill comes back for the next chunk of the same output rows after it has used this one for many rows of x.
constexpr std::size_t kPrefetchNextBytes = kActBlock * kRowBlock / 2;  // a chunk of nibbles
DGQ_INLINE void prefetch_next(const void* p) { prefetch<kPrefetchNextBytes>(p); }
DGQ_INLINE void prefetch_next(Steps<4> q) { prefetch_next(q.low); }
DGQ_INLINE void prefetch_next(Steps<6> q) { prefetch_next(q.low), prefetch<kPrefetchNextBytes / 2>(q.high); }

}  // namespace
}  // namespace dgq
