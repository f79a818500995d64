// kernels/x86/dot_avx512vnni.h - vpdpbusd on 16 output rows at once: what the avx512vnni kernel files share.
//
// It multiplies unsigned with signed bytes. Nibbles are unsigned as they are. Signed weights get 128 added, which adds
// 128 times the sum of xq to each result: one start value per row of x, since those sums are there already.
#pragma once

#include "kernels/x86/vector_avx512.h"

namespace dgq {
namespace {

// Weights of kBlocks * 16 output rows, expanded to w8 + 128. 8 rows of x by 3 blocks are 24 accumulators: enough
// chains for two ports with a latency of 5, and 11 loads for 24 products (12 by 2: 14 loads, 8 % slower).
template <std::size_t kBlockCount>
class Panel {
 public:
  static constexpr std::size_t kTileRows = 8, kBlocks = kBlockCount;

  template <class Matrix>
  void load(const Matrix& w, std::size_t row_block, std::size_t chunk, std::size_t columns) {
    steps_ = columns / 4;
    for (std::size_t b = 0; b < kBlocks; ++b) expand(w, row_block + b, chunk, columns, char(-128), q_[b]);
  }

  template <std::size_t kRows, class Into>
  DGQ_INLINE void add(const QuantizedRows& x, std::size_t i, std::size_t chunk, State* state) const {
    const std::int8_t* xq = x.q_of(i, chunk);
    __m512i sum[kRows][kBlocks];
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kRows; ++r) {
      const __m512i start = _mm512_set1_epi32(x.sums_of(i + r, chunk).minus_128);
      for (std::size_t b = 0; b < kBlocks; ++b) sum[r][b] = start;
    }
    if (steps_ == 0) __builtin_unreachable();
#pragma GCC unroll 4
    for (std::size_t s = 0; s < steps_; ++s) {
      __m512i w[kBlocks];
      for (std::size_t b = 0; b < kBlocks; ++b) w[b] = load512(q_[b] + s * kStepBytes);
#pragma GCC unroll 8
      for (std::size_t r = 0; r < kRows; ++r) {
        const __m512i x4 = broadcast32(xq + r * kActBlock + 4 * s);
        for (std::size_t b = 0; b < kBlocks; ++b)
          sum[r][b] = pinned(_mm512_dpbusd_epi32(sum[r][b], w[b], x4));
      }
    }
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kRows; ++r)
      for (std::size_t b = 0; b < kBlocks; ++b)
        add_sums<Into>(state[r * kBlocks + b], sum[r][b], x, i + r, chunk);
  }

 private:
  alignas(64) std::int8_t q_[kBlocks][kActBlock * kRowBlock];
  std::size_t steps_;
};

}  // namespace
}  // namespace dgq
