// kernels/arm/mmla_neon_i8mm.h - the int8 product that the neon_i8mm kernel files share, each with its own copy.
// SMMLA multiplies 2 rows x 8 columns of x with 2 output rows x 8 columns.
#pragma once

#include "kernels/arm/fine_neon.h"

#ifndef __ARM_FEATURE_MATMUL_INT8
#error "build this file with +i8mm"
#endif

namespace dgq {
namespace {

constexpr std::size_t kPairBytes = 16;  // 2 rows x 8 columns

// Expanded weights: for each 8 columns the 8 pairs of output rows. A vector of 4 rows x 4 columns, and the one of the 4
// columns behind, make two pairs.
struct PairOrder {
  DGQ_INLINE static void store(std::int8_t* out, std::size_t v, int8x16_t low, int8x16_t high) {
    const int32x4_t a = vreinterpretq_s32_s8(low), b = vreinterpretq_s32_s8(high);
    vst1q_s8(out + 2 * v * kPairBytes, vreinterpretq_s8_s32(vzip1q_s32(a, b)));
    vst1q_s8(out + (2 * v + 1) * kPairBytes, vreinterpretq_s8_s32(vzip2q_s32(a, b)));
  }
};

DGQ_INLINE int8x16_t join_low(int8x16_t a, int8x16_t b) {
  return vreinterpretq_s8_s64(vzip1q_s64(vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b)));
}
DGQ_INLINE int8x16_t join_high(int8x16_t a, int8x16_t b) {
  return vreinterpretq_s8_s64(vzip2q_s64(vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b)));
}

// Rows of x, 128 bytes apart, as pairs: for each 8 columns kPairs of them. A row without a second stands twice.
template <std::size_t kRows>
DGQ_INLINE void pair_rows(const std::int8_t* xq, std::size_t columns, std::int8_t* out) {
  constexpr std::size_t kPairs = (kRows + 1) / 2;
  for (std::size_t k = 0; k < columns; k += 16, out += 2 * kPairs * kPairBytes) {
#pragma GCC unroll 6
    for (std::size_t p = 0; p < kPairs; ++p) {
      const std::int8_t* first = xq + 2 * p * kActBlock + k;
      const int8x16_t a = vld1q_s8(first), b = kRows == 1 ? a : vld1q_s8(first + kActBlock);
      vst1q_s8(out + p * kPairBytes, join_low(a, b));
      vst1q_s8(out + (kPairs + p) * kPairBytes, join_high(a, b));
    }
  }
}

// 8 output rows: 24 sums for 12 rows of x, 4 registers of weights, one of x at a time.
template <std::size_t kRows>
DGQ_INLINE void multiply_pairs(const std::int8_t* w, const std::int8_t* x, std::size_t columns,
                               std::size_t first_lane, Acc* acc) {
  constexpr std::size_t kPairs = (kRows + 1) / 2;
  int32x4_t sum[kPairs][4];
  for (auto& row : sum)
    for (auto& v : row) v = vdupq_n_s32(0);
  for (std::size_t k = 0; k < columns; k += 8, w += 8 * kPairBytes, x += kPairs * kPairBytes) {
    int8x16_t weights[4];
    for (std::size_t v = 0; v < 4; ++v) weights[v] = vld1q_s8(w + v * kPairBytes);
#pragma GCC unroll 6
    for (std::size_t p = 0; p < kPairs; ++p) {
      const int8x16_t pair = vld1q_s8(x + p * kPairBytes);
      for (std::size_t v = 0; v < 4; ++v) sum[p][v] = vmmlaq_s32(sum[p][v], pair, weights[v]);
    }
  }
  for (std::size_t row = 0; row < kRows; ++row) {
    for (std::size_t v = 0; v < 4; v += 2) {
      const int64x2_t a = vreinterpretq_s64_s32(sum[row / 2][v]),
                      b = vreinterpretq_s64_s32(sum[row / 2][v + 1]);
      const int64x2_t four = row % 2 == 0 ? vzip1q_s64(a, b) : vzip2q_s64(a, b);
      vst1q_s32(acc[row].lane + first_lane + 2 * v, vreinterpretq_s32_s64(four));
    }
  }
}

// A panel of 16 * kCount output rows. Two blocks share the pairing of x, which costs as many instructions as a fifth of
// the products of one block. Weights::expand puts a block's chunk into PairOrder.
template <class Weights, std::size_t kCount>
class PairPanel {
 public:
  static constexpr std::size_t kTileRows = 12, kBlocks = kCount;

  template <class Matrix>
  void load(const Matrix& w, std::size_t row_block, std::size_t chunk, std::size_t columns) {
    columns_ = columns;
    for (std::size_t b = 0; b < kBlocks; ++b) Weights::expand(w, row_block + b, chunk, columns, q_[b]);
  }

  template <std::size_t kRows, class Into>
  DGQ_INLINE void add(const QuantizedRows& x, std::size_t i, std::size_t chunk, State* state) const {
    alignas(64) std::int8_t pairs[(kRows + 1) / 2 * 2 * kActBlock];
    pair_rows<kRows>(x.q_of(i, chunk), columns_, pairs);
    for (std::size_t b = 0; b < kBlocks; ++b) {
      Acc acc[kRows];
      for (std::size_t half = 0; half < 2; ++half)
        multiply_pairs<kRows>(q_[b] + half * 4 * kPairBytes, pairs, columns_, 8 * half, acc);
      for (std::size_t row = 0; row < kRows; ++row)
        Into::add(state[row * kBlocks + b], acc[row], x, i + row, chunk);
    }
  }

 private:
  alignas(64) std::int8_t q_[kBlocks][kActBlock * kRowBlock];
  std::size_t columns_;
};

}  // namespace
}  // namespace dgq
