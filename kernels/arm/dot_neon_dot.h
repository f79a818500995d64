// kernels/arm/dot_neon_dot.h - the int8 product that the neon_dot kernel files share, each with its own copy.
#pragma once

#include <arm_neon.h>

#include "kernels/gemm_q_loops.h"

#ifndef __ARM_FEATURE_DOTPROD
#error "build this file with +dotprod"
#endif

namespace dgq {
namespace {

constexpr std::size_t kVectors = 4;  // of 4 output rows each

// acc[v] += 16 rows x 4 columns of weights (n16k4, 64 bytes) times 4 columns of x, lane kLane of x16.
template <int kLane>
DGQ_INLINE void add_step(int32x4_t (&acc)[kVectors], const int8x16_t (&w)[kVectors], int8x16_t x16) {
  for (std::size_t v = 0; v < kVectors; ++v) acc[v] = vdotq_laneq_s32(acc[v], w[v], x16, kLane);
}

DGQ_INLINE void load_step(const std::int8_t* w, int8x16_t (&out)[kVectors]) {
  for (std::size_t v = 0; v < kVectors; ++v) out[v] = vld1q_s8(w + 16 * v);
}

DGQ_INLINE void load_acc(const Acc& from, int32x4_t (&acc)[kVectors]) {
  for (std::size_t v = 0; v < kVectors; ++v) acc[v] = vld1q_s32(from.lane + 4 * v);
}

DGQ_INLINE void store_acc(const int32x4_t (&acc)[kVectors], Acc& to) {
  for (std::size_t v = 0; v < kVectors; ++v) vst1q_s32(to.lane + 4 * v, acc[v]);
}

template <int kLane, std::size_t kRows>
DGQ_INLINE void tile_step(int32x4_t (&sum)[kRows][kVectors], const std::int8_t* w,
                          const int8x16_t (&x16)[kRows]) {
  int8x16_t weights[kVectors];
  load_step(w + kLane * 64, weights);
  for (std::size_t row = 0; row < kRows; ++row) add_step<kLane>(sum[row], weights, x16[row]);
}

// acc[r] += 16 output rows of weights (n16k4) times kRows rows of x, 128 bytes apart; columns is a multiple of 16.
template <std::size_t kRows>
DGQ_INLINE void add_tile(const std::int8_t* w, std::size_t columns, const std::int8_t* xq, Acc* acc) {
  int32x4_t sum[kRows][kVectors];
  for (std::size_t row = 0; row < kRows; ++row) load_acc(acc[row], sum[row]);
  for (std::size_t k = 0; k < columns; k += 16, w += 256) {
    int8x16_t x16[kRows];
    for (std::size_t row = 0; row < kRows; ++row) x16[row] = vld1q_s8(xq + row * kActBlock + k);
    tile_step<0>(sum, w, x16);
    tile_step<1>(sum, w, x16);
    tile_step<2>(sum, w, x16);
    tile_step<3>(sum, w, x16);
  }
  for (std::size_t row = 0; row < kRows; ++row) store_acc(sum[row], acc[row]);
}

// The Panel::add of gemm_q_loops.h for expanded weights.
template <std::size_t kRows, class Into>
DGQ_INLINE void add_expanded(const std::int8_t* w, std::size_t columns, const QuantizedRows& x, std::size_t i,
                             std::size_t chunk, State* state) {
  Acc acc[kRows] = {};
  add_tile<kRows>(w, columns, x.q_of(i, chunk), acc);
  for (std::size_t row = 0; row < kRows; ++row) Into::add(state[row], acc[row], x, i + row, chunk);
}

}  // namespace
}  // namespace dgq
