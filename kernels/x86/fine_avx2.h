// kernels/x86/fine_avx2.h - how the avx2 and avxvnni kernel files unpack W4 and W6 weights, each with its own copy.
#pragma once

#include "kernels/gemm_q_loops.h"
#include "kernels/x86/vector_avx2.h"

namespace dgq {
namespace {

// q of 8 output rows, one per byte: a step's first 4 columns and its last.
struct Columns {
  __m256i first, last;
};

DGQ_INLINE __m256i low_nibbles(__m256i v) { return _mm256_and_si256(v, _mm256_set1_epi8(15)); }

// half: which 8 of the 16 output rows.
DGQ_INLINE Columns load_step(Steps<4> q, std::size_t half) {
  const __m256i packed = load256(q.low + 32 * half);
  return {low_nibbles(packed), low_nibbles(_mm256_srli_epi16(packed, 4))};
}

// Bits 3-0 of `low` and 5-4 of `high`.
DGQ_INLINE __m256i joined(__m256i low, __m256i high) {
  return _mm256_or_si256(low_nibbles(low), _mm256_and_si256(high, _mm256_set1_epi8(0x30)));
}
DGQ_INLINE Columns load_step(Steps<6> q, std::size_t half) {
  const __m256i packed = load256(q.low + 32 * half), plane = load256(q.high);
  return {joined(packed, half == 0 ? _mm256_slli_epi16(plane, 4) : _mm256_slli_epi16(plane, 2)),
          joined(_mm256_srli_epi16(packed, 4), half == 0 ? plane : _mm256_srli_epi16(plane, 2))};
}

}  // namespace
}  // namespace dgq
