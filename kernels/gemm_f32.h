// kernels/gemm_f32.h - float rows times float rows: the fp32 reference model, calibration statistics.
//
//   y[i][j] = tree( lane[l] = fma over ascending k = l mod 16 of x[i][k] * w[j][k] )  (+ bias[j])
//
// 16 lanes, each a chain of fma from 0 in ascending k; then lane[l] += lane[l + 8], + 4, + 2, + 1. Defined
// so, every kernel, thread count and tiling returns the same bits (DESIGN: same bits everywhere).
#pragma once

#include <cstddef>

#include "kernels/cpu.h"

namespace dgq {

struct F32Matrix {
  std::size_t n, k;   // output rows, input columns; any size, n or k may be 0
  const float* w;     // [n][k] row-major; borrowed
  const float* bias;  // [n] or null
};

// Computes rows [row_begin, row_end) of w for all m rows of x. x: [m][ldx], y: [m][ldy], ldy >= n; y written,
// never read. Pure, thread-safe for disjoint y.
using GemmF32 = void(const F32Matrix& w, const float* x, std::size_t ldx, std::size_t m,
                     std::size_t row_begin, std::size_t row_end, float* y, std::size_t ldy) noexcept;

struct GemmF32Kernel {
  const char* isa;
  Features needs;
  GemmF32* run;
};

}  // namespace dgq
