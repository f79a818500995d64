// kernels/x86/gemm_w4a8_avx512vnni.cpp - built with the AVX-512 flags of kernels/CMakeLists.txt; see gemm_q_loops.h
// for why nothing else is included. W6 differs in how q is unpacked only, so its kernels are here too.
#include "kernels/x86/avx512vnni.h"
#include "kernels/x86/dot_avx512vnni.h"

namespace dgq {
namespace {

// Inside a group vpdpbusd of nibbles; then times s2, plus o times the sum of xq.
template <Lines kLines>
struct Fold {
  static constexpr std::size_t kTileRows = 8;

  template <std::size_t kRows, int kBits>
  DGQ_INLINE static void add(const FineMatrix<kBits>& w, std::size_t row_block, const QuantizedRows& x,
                             std::size_t i, std::size_t chunk, std::size_t columns, Acc (&acc)[kRows]) {
    auto [q, s2, o] = Packed(w, row_block, chunk);
    for (std::size_t g = 0; g < columns; g += w.group, s2 += kRowBlock, o += kRowBlock) {
      __m512i low[kRows], high[kRows];  // two chains for each row of x
      for (std::size_t r = 0; r < kRows; ++r) low[r] = high[r] = _mm512_setzero_si512();
      for (std::size_t k = g; k < g + w.group; k += 8, q = q + 1) {
        if constexpr (kLines == Lines::asked_for) prefetch(q);
        const auto [w_low, w_high] = load_step(q);
#pragma GCC unroll 8
        for (std::size_t r = 0; r < kRows; ++r) {
          const std::int8_t* xq = x.q_of(i + r, chunk) + k;
          low[r] = pinned(_mm512_dpbusd_epi32(low[r], w_low, broadcast32(xq)));
          high[r] = pinned(_mm512_dpbusd_epi32(high[r], w_high, broadcast32(xq + 4)));
        }
      }
      const __m512i scale = _mm512_cvtepu8_epi32(load128(s2)), offset = _mm512_cvtepi8_epi32(load128(o));
#pragma GCC unroll 8
      for (std::size_t r = 0; r < kRows; ++r) {
        const int group_sum = x.sums_of(i + r, chunk).of_group(g, w.group);
        const __m512i product = _mm512_mullo_epi32(_mm512_add_epi32(low[r], high[r]), scale);
        const __m512i shift = _mm512_mullo_epi32(offset, _mm512_set1_epi32(group_sum));
        store512(acc[r].lane, _mm512_add_epi32(load512(acc[r].lane), _mm512_add_epi32(product, shift)));
      }
    }
  }
};

}  // namespace

void gemm_w4a8_1x16_avx512vnni(const W4Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                               std::size_t block_end, float* y, std::size_t ldy) noexcept {
  decode<Fold<Lines::asked_for>>(w, x, block_begin, block_end, y, ldy);
}

void gemm_w4a8_1x16_avx512vnni_streams(const W4Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                                       std::size_t block_end, float* y, std::size_t ldy) noexcept {
  decode<Fold<Lines::streamed>>(w, x, block_begin, block_end, y, ldy);
}

void gemm_w6a8_1x16_avx512vnni(const W6Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                               std::size_t block_end, float* y, std::size_t ldy) noexcept {
  decode<Fold<Lines::asked_for>>(w, x, block_begin, block_end, y, ldy);
}

void gemm_w6a8_1x16_avx512vnni_streams(const W6Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                                       std::size_t block_end, float* y, std::size_t ldy) noexcept {
  decode<Fold<Lines::streamed>>(w, x, block_begin, block_end, y, ldy);
}

void gemm_w4a8_8x48_avx512vnni(const W4Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                               std::size_t block_end, float* y, std::size_t ldy) noexcept {
  prefill<Panel<3>, Panel<2>, Panel<1>>(w, x, block_begin, block_end, y, ldy);
}

void gemm_w6a8_8x48_avx512vnni(const W6Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                               std::size_t block_end, float* y, std::size_t ldy) noexcept {
  prefill<Panel<3>, Panel<2>, Panel<1>>(w, x, block_begin, block_end, y, ldy);
}

}  // namespace dgq
