// kernels/x86/vector_avx512.h - what the AVX-512 kernel files share, each with its own copy.
#pragma once

#include <immintrin.h>

#include "kernels/gemm_q_loops.h"
#include "kernels/x86/prefetch.h"

#if !defined(__AVX512BW__) || !defined(__AVX512VNNI__)
#error "build this file with -mavx512bw -mavx512vnni"
#endif

namespace dgq {
namespace {

constexpr std::size_t kStepBytes = 64;  // 16 rows x 8 columns of nibbles, or x 4 columns of bytes

DGQ_INLINE __m512i load512(const void* p) { return _mm512_loadu_si512(p); }
DGQ_INLINE void store512(void* p, __m512i v) { _mm512_storeu_si512(p, v); }
DGQ_INLINE __m256i load256(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
DGQ_INLINE __m128i load128(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }

// Four bytes of x, sixteen times.
DGQ_INLINE __m512i broadcast32(const void* p) {
  int bits;
  __builtin_memcpy(&bits, p, sizeof bits);
  return _mm512_set1_epi32(bits);
}

// The same value, but to the compiler a new one in a register: keeps GCC 12 from reordering sums until they spill.
DGQ_INLINE __m512i pinned(__m512i v) {
  __asm__("" : "+v"(v));
  return v;
}

// Adds the sums of 16 output rows and one row of x to its state.
template <class Into>
DGQ_INLINE void add_sums(State& state, __m512i sums, const QuantizedRows& x, std::size_t i,
                         std::size_t chunk) {
  if constexpr (Into::kChain) {
    const __m512 t = _mm512_loadu_ps(state.chain.t);
    _mm512_storeu_ps(state.chain.t,
                     _mm512_fmadd_ps(_mm512_set1_ps(x.scale_of(i, chunk)), _mm512_cvtepi32_ps(sums), t));
  } else {
    store512(state.acc.lane, _mm512_add_epi32(load512(state.acc.lane), sums));
  }
}

DGQ_INLINE __m512i low_nibbles(__m512i v) { return _mm512_and_si512(v, _mm512_set1_epi8(15)); }
DGQ_INLINE __m512i high_nibbles(__m512i v) { return low_nibbles(_mm512_srli_epi16(v, 4)); }

// q of 16 output rows, one per byte: a step's first 4 columns and its last.
struct Columns {
  __m512i first, last;
};
DGQ_INLINE Columns load_step(Steps<4> q) {
  const __m512i packed = load512(q.low);
  return {low_nibbles(packed), high_nibbles(packed)};
}
// Bits 3-0 of `low`, then bits 5-4 of `high`.
DGQ_INLINE __m512i joined(__m512i low, __m512i high) {
  constexpr int kFirstChooses = 0xca;  // between the second and the third
  const __m512i bits = _mm512_ternarylogic_epi32(_mm512_set1_epi8(15), low, high, kFirstChooses);
  return _mm512_and_si512(bits, _mm512_set1_epi8(63));
}
DGQ_INLINE Columns load_step(Steps<6> q) {
  const __m512i packed = load512(q.low), plane = _mm512_broadcast_i64x4(load256(q.high));
  const auto halves = [](short lower, short upper) {
    return _mm512_inserti64x4(_mm512_set1_epi16(upper), _mm256_set1_epi16(lower), 0);
  };
  return {joined(packed, _mm512_sllv_epi16(plane, halves(4, 2))),
          joined(_mm512_srli_epi16(packed, 4), _mm512_srlv_epi16(plane, halves(0, 2)))};
}

// One byte for each of 16 output rows, four times each.
DGQ_INLINE __m512i row_bytes(const void* p) {
  const __m512i rows = _mm512_cvtepu8_epi32(load128(p));
  return _mm512_mullo_epi32(rows, _mm512_set1_epi32(0x01010101));
}

// w8 = s2 * q + o of one group in the order n16k4, plus `bias` in every byte, everything modulo 256.
template <int kBits>
DGQ_INLINE void expand_group(Steps<kBits> q, const std::uint8_t* s2, const std::int8_t* o, std::size_t group,
                             char bias, std::int8_t* out) {
  const __m512i offset = _mm512_add_epi8(row_bytes(o), _mm512_set1_epi8(bias));
  const __m512i rows = _mm512_cvtepu8_epi32(load128(s2));
  const __m512i scale = _mm512_or_si512(rows, _mm512_slli_epi32(rows, 16));
  // Two bytes in one product: s2 * q = w8 - o stays under 256, so nothing is carried from the low one.
  const auto times_scale = [&](__m512i columns) {
    return _mm512_add_epi8(_mm512_mullo_epi16(columns, scale), offset);
  };
  for (std::size_t k = 0; k < group; k += 8, q = q + 1, out += 2 * kStepBytes) {
    prefetch_next(q);
    const Columns columns = load_step(q);
    store512(out, times_scale(columns.first));
    store512(out + kStepBytes, times_scale(columns.last));
  }
}

// One chunk of 16 output rows as expand_group does. out: 128 x 16 bytes, the ones past `columns` untouched.
template <int kBits>
DGQ_INLINE void expand(const FineMatrix<kBits>& w, std::size_t row_block, std::size_t chunk,
                       std::size_t columns, char bias, std::int8_t* out) {
  auto [q, s2, o] = Packed(w, row_block, chunk);
  for (std::size_t k = 0; k < columns; k += w.group, s2 += kRowBlock, o += kRowBlock)
    expand_group(q + k / 8, s2, o, w.group, bias, out + k * kRowBlock);
}

DGQ_INLINE void expand(const W8Matrix& w, std::size_t row_block, std::size_t chunk, std::size_t columns,
                       char bias, std::int8_t* out) {
  const std::int8_t* q = packed_chunk(w, row_block, chunk);
  for (std::size_t at = 0; at < columns * kRowBlock; at += kStepBytes)
    prefetch_next(q + at), store512(out + at, _mm512_add_epi8(load512(q + at), _mm512_set1_epi8(bias)));
}

}  // namespace
}  // namespace dgq
