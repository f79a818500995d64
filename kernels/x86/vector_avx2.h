// kernels/x86/vector_avx2.h - loads and stores that the avx2 kernel files share, each with its own copy.
#pragma once

#include <immintrin.h>

#include "kernels/packed.h"

#if !defined(__AVX2__) || !defined(__FMA__)
#error "build this file with -mavx2 -mfma"
#endif

namespace dgq {
namespace {

DGQ_INLINE __m256i load256(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
DGQ_INLINE void store256(void* p, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }
DGQ_INLINE __m128i load128(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
DGQ_INLINE __m128i load64(const void* p) { return _mm_loadl_epi64(static_cast<const __m128i*>(p)); }

// Four bytes, eight times.
DGQ_INLINE __m256i broadcast32(const void* p) {
  int bits;
  __builtin_memcpy(&bits, p, sizeof bits);
  return _mm256_set1_epi32(bits);
}

// The same value, but to the compiler a new one in a register. GCC 12 reorders long unrolled sums (all
// products first, then the additions) until they spill, and folds a load that two instructions share into
// both.
template <class Vector>
DGQ_INLINE Vector pinned(Vector v) {
  __asm__("" : "+x"(v));
  return v;
}

// Decode reads every weight once, in order, and is bound by memory: the prefetch runs ahead across the page borders
// where the hardware's stops. Into L2: L1 has 16 buffers for lines on their way, too few to wait for memory in.
constexpr std::size_t kPrefetchBytes = 4096;
DGQ_INLINE void prefetch(const void* p) {
  _mm_prefetch(static_cast<const char*>(p) + kPrefetchBytes, _MM_HINT_T1);
}

// Prefill comes back for the next chunk of the same output rows after it has used this one for many rows of x.
constexpr std::size_t kPrefetchNextBytes = 128 * kRowBlock / 2;  // a chunk of nibbles
DGQ_INLINE void prefetch_next(const void* p) {
  _mm_prefetch(static_cast<const char*>(p) + kPrefetchNextBytes, _MM_HINT_T1);
}

}  // namespace
}  // namespace dgq
