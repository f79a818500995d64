// kernels/x86/gemm_w8a8_avx512vnni.cpp - built with the AVX-512 flags of kernels/CMakeLists.txt; see gemm_q_loops.h
// for why nothing else is included.
#include "kernels/x86/avx512vnni.h"
#include "kernels/x86/dot_avx512vnni.h"

namespace dgq {
namespace {

template <Lines kLines>
struct Fold {
  static constexpr std::size_t kTileRows = 8;

  template <std::size_t kRows>
  DGQ_INLINE static void add(const W8Matrix& w, std::size_t row_block, const QuantizedRows& x, std::size_t i,
                             std::size_t chunk, std::size_t columns, Acc (&acc)[kRows]) {
    const std::int8_t* q = packed_chunk(w, row_block, chunk);
    __m512i even[kRows], odd[kRows];  // two chains for each row of x
    for (std::size_t r = 0; r < kRows; ++r) {
      even[r] = _mm512_add_epi32(load512(acc[r].lane), _mm512_set1_epi32(x.sums_of(i + r, chunk).minus_128));
      odd[r] = _mm512_setzero_si512();
    }
    for (std::size_t k = 0; k < columns; k += 8, q += 2 * kStepBytes) {
      if constexpr (kLines == Lines::asked_for) prefetch(q), prefetch(q + kStepBytes);
      const __m512i flip = _mm512_set1_epi8(-128);
      const __m512i w_even = _mm512_xor_si512(load512(q), flip),
                    w_odd = _mm512_xor_si512(load512(q + kStepBytes), flip);
#pragma GCC unroll 8
      for (std::size_t r = 0; r < kRows; ++r) {
        const std::int8_t* xq = x.q_of(i + r, chunk) + k;
        even[r] = pinned(_mm512_dpbusd_epi32(even[r], w_even, broadcast32(xq)));
        odd[r] = pinned(_mm512_dpbusd_epi32(odd[r], w_odd, broadcast32(xq + 4)));
      }
    }
    for (std::size_t r = 0; r < kRows; ++r) store512(acc[r].lane, _mm512_add_epi32(even[r], odd[r]));
  }
};

}  // namespace

void gemm_w8a8_1x16_avx512vnni(const W8Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                               std::size_t block_end, float* y, std::size_t ldy) noexcept {
  decode<Fold<Lines::asked_for>>(w, x, block_begin, block_end, y, ldy);
}

void gemm_w8a8_1x16_avx512vnni_streams(const W8Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                                       std::size_t block_end, float* y, std::size_t ldy) noexcept {
  decode<Fold<Lines::streamed>>(w, x, block_begin, block_end, y, ldy);
}

void gemm_w8a8_8x48_avx512vnni(const W8Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                               std::size_t block_end, float* y, std::size_t ldy) noexcept {
  prefill<Panel<3>, Panel<2>, Panel<1>>(w, x, block_begin, block_end, y, ldy);
}

}  // namespace dgq
