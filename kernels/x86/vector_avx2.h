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

}  // namespace
}  // namespace dgq
