// kernels/arm/dot_neon_dot.h - the int8 product that the neon_dot kernel files share, each with its own copy.
#pragma once

#include "kernels/arm/fine_neon.h"

#ifndef __ARM_FEATURE_DOTPROD
#error "build this file with +dotprod"
#endif

namespace dgq {
namespace {

DGQ_INLINE void load_acc(const Acc& from, int32x4_t (&acc)[kVectors]) {
  for (std::size_t v = 0; v < kVectors; ++v) acc[v] = vld1q_s32(from.lane + 4 * v);
}

DGQ_INLINE void store_acc(const int32x4_t (&acc)[kVectors], Acc& to) {
  for (std::size_t v = 0; v < kVectors; ++v) vst1q_s32(to.lane + 4 * v, acc[v]);
}

// 4 * kCount output rows x 4 columns, lane kLane of x16.
template <int kLane, std::size_t kRows, std::size_t kCount>
DGQ_INLINE void tile_step(int32x4_t (&sum)[kRows][kCount], const std::int8_t* w,
                          const int8x16_t (&x16)[kRows]) {
  int8x16_t weights[kCount];
  for (std::size_t v = 0; v < kCount; ++v) weights[v] = pinned(vld1q_s8(w + kLane * 64 + 16 * v));
  for (std::size_t row = 0; row < kRows; ++row)
    for (std::size_t v = 0; v < kCount; ++v)
      sum[row][v] = vdotq_laneq_s32(sum[row][v], weights[v], x16[row], kLane);
}

// sum += 4 * kCount of the 16 output rows of weights (n16k4) times kRows rows of x, 128 bytes apart; columns is a
// multiple of 16.
template <std::size_t kRows, std::size_t kCount>
DGQ_INLINE void add_tile(const std::int8_t* w, std::size_t columns, const std::int8_t* xq,
                         int32x4_t (&sum)[kRows][kCount]) {
  for (std::size_t k = 0; k < columns; k += 16, w += 256) {
    int8x16_t x16[kRows];
    for (std::size_t row = 0; row < kRows; ++row) x16[row] = vld1q_s8(xq + row * kActBlock + k);
    tile_step<0>(sum, w, x16);
    tile_step<1>(sum, w, x16);
    tile_step<2>(sum, w, x16);
    tile_step<3>(sum, w, x16);
  }
}

// The Panel::add of gemm_q_loops.h for expanded weights: 8 rows of x by 8 outputs are 16 sums, 8 registers of x and 2 of
// weights. (6 by 16 would need all 32, and GCC 12 spills.)
constexpr std::size_t kPanelTileRows = 8;
template <std::size_t kRows, class Into>
DGQ_INLINE void add_expanded(const std::int8_t* w, std::size_t columns, const QuantizedRows& x, std::size_t i,
                             std::size_t chunk, State* state) {
  Acc acc[kRows];
  for (std::size_t v = 0; v < kVectors; v += 2) {
    int32x4_t sum[kRows][2];
    for (auto& row : sum) row[0] = row[1] = vdupq_n_s32(0);
    add_tile(w + 16 * v, columns, x.q_of(i, chunk), sum);
    for (std::size_t row = 0; row < kRows; ++row)
      for (std::size_t half = 0; half < 2; ++half) vst1q_s32(acc[row].lane + 4 * (v + half), sum[row][half]);
  }
  for (std::size_t row = 0; row < kRows; ++row) Into::add(state[row], acc[row], x, i + row, chunk);
}

}  // namespace
}  // namespace dgq
