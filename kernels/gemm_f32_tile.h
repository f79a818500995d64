// kernels/gemm_f32_tile.h - gemm_f32.h in register tiles, for any vector width. `Lanes` holds the 16 lanes of
// one output:
//
//   Lanes::kParts            vectors that make up 16 lanes           Lanes::Vector, Lanes::zero(),
//   Lanes::load(p) Lanes::fma(a, b, sum)    a * b + sum, rounded once               Lanes::store(p, vector)
//   Lanes::trees(sums, y)    y[o] = lane[0] after lane[l] += lane[l + 8], + 4, + 2, + 1 of sums[o][part]
//
// In an unnamed namespace: each kernel file has its own copy, compiled with its own flags.
#pragma once

#include "kernels/gemm_f32.h"
#include "kernels/packed.h"

namespace dgq {
namespace {

constexpr std::size_t kLanes = 16;

// kRows rows of x by kOutputs rows of w.
template <class Lanes, std::size_t kRows, std::size_t kOutputs>
DGQ_INLINE void f32_tile(const F32Matrix& w, const float* x, std::size_t ldx, std::size_t j, float* y,
                         std::size_t ldy) {
  constexpr std::size_t kParts = Lanes::kParts, kWidth = kLanes / kParts;
  using Vector = typename Lanes::Vector;
  const float* weights = w.w + j * w.k;
  Vector sum[kRows][kOutputs][kParts];
  for (auto& row : sum)
    for (auto& output : row)
      for (auto& part : output) part = Lanes::zero();

  const std::size_t whole = w.k / kLanes * kLanes;
  for (std::size_t k = 0; k < whole; k += kLanes) {
#pragma GCC unroll 8
    for (std::size_t part = 0; part < kParts; ++part) {
      Vector u[kRows];
#pragma GCC unroll 8
      for (std::size_t r = 0; r < kRows; ++r) u[r] = Lanes::load(x + r * ldx + k + part * kWidth);
#pragma GCC unroll 8
      for (std::size_t o = 0; o < kOutputs; ++o) {
        const Vector v = Lanes::load(weights + o * w.k + k + part * kWidth);
#pragma GCC unroll 8
        for (std::size_t r = 0; r < kRows; ++r) sum[r][o][part] = Lanes::fma(u[r], v, sum[r][o][part]);
      }
    }
  }

#pragma GCC unroll 8
  for (std::size_t r = 0; r < kRows; ++r) {
    if (whole < w.k) {  // the last columns, one by one: a vector fma with 0 would turn a lane of -0 into +0
#pragma GCC unroll 8
      for (std::size_t o = 0; o < kOutputs; ++o) {
        float lane[kLanes];
        for (std::size_t part = 0; part < kParts; ++part) Lanes::store(lane + part * kWidth, sum[r][o][part]);
        for (std::size_t k = whole; k < w.k; ++k)
          lane[k - whole] = __builtin_fmaf(x[r * ldx + k], weights[o * w.k + k], lane[k - whole]);
        for (std::size_t part = 0; part < kParts; ++part) sum[r][o][part] = Lanes::load(lane + part * kWidth);
      }
    }
    float* to = y + r * ldy + j;
    Lanes::trees(sum[r], to);
    if (w.bias)
      for (std::size_t o = 0; o < kOutputs; ++o) to[o] += w.bias[j + o];
  }
}

// All rows of x by kOutputs rows of w.
template <class Lanes, std::size_t kOutputs>
void f32_rows(const F32Matrix& w, const float* x, std::size_t ldx, std::size_t m, std::size_t j, float* y,
              std::size_t ldy) {
  std::size_t i = 0;
  for (; i + 3 <= m; i += 3) f32_tile<Lanes, 3, kOutputs>(w, x + i * ldx, ldx, j, y + i * ldy, ldy);
  for (; i < m; ++i) f32_tile<Lanes, 1, kOutputs>(w, x + i * ldx, ldx, j, y + i * ldy, ldy);
}

// kOutputs: of the tiles. Blocks for the caches were tried and won nothing outside the noise (576 to 4096 columns).
template <class Lanes, std::size_t kOutputs>
void f32_gemm(const F32Matrix& w, const float* x, std::size_t ldx, std::size_t m, std::size_t row_begin,
              std::size_t row_end, float* y, std::size_t ldy) {
  std::size_t j = row_begin;
  for (; j + kOutputs <= row_end; j += kOutputs) f32_rows<Lanes, kOutputs>(w, x, ldx, m, j, y, ldy);
  for (; j < row_end; ++j) f32_rows<Lanes, 1>(w, x, ldx, m, j, y, ldy);
}

}  // namespace
}  // namespace dgq
