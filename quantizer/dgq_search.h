// quantizer/dgq_search.h - Dual Grained Quantization of one linear layer: the two-phase grid search of arXiv 2310.04836.
//
//   w_hat[n][k] = s1[n] * (s2[n][g] * q[n][k] + o[n][g])          g = k / group, as kernels/packed.h
//   error of row n = d H d^T,  d = w[n] - w_hat[n],  H = X^T X    of the layer's inputs X on calibration text
//
// which is the squared error of output n summed over the calibration tokens: both phases minimise what the layer puts
// out, not the distance of the weights.
//   Phase 1, per group: clip ratio of the min-max range and position of the grid -> step s', start o' (real numbers),
//                       judged with the group's diagonal block of H.
//   Phase 2, per row:   s1 over a grid; s2 = round(s' / s1), o = round(o' / s1), q rounded again; judged with all of H.
//                       Then each group's s2 and o move to neighbouring integers while that lowers the row's error.
// Plain min-max rounding is one candidate of phase 2, so no row comes out worse than it.
//
// The result is the same bytes for every kernel row and number of threads.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/gemm_f32.h"
#include "kernels/packed.h"

namespace dgq {

// What is tried. Part of the recipe that a registry keeps. Measured on `eval`, layer 0, q_proj (min-max 0.00433): this
// grid 0.00270; 31 coarse scales 0.00268 at twice the time; no shifts 0.00272; no sweeps 0.00305, one 0.00276.
struct SearchGrid {
  std::size_t clips = 12;  // phase 1: ranges 1, 1 - clip_step, ... of min-max,
  double clip_step = 0.04;
  std::size_t shifts = 3;  // each at positions -shift_step, 0, shift_step, in steps
  double shift_step = 0.25;
  std::size_t coarse = 16;  // phase 2: s1 = ratio * max |w| / 127, ratio = coarse_first, + coarse_step, ...
  double coarse_first = 0.8, coarse_step = 0.025;
  std::size_t sweeps = 2;  // then over the groups, each to its best neighbour
};
inline constexpr SearchGrid kSearchGrid;

struct QuantizedLinear {
  std::vector<std::uint8_t> q;  // [n][k], 0..15
  std::vector<std::uint8_t>
      s2;  // [n][ceil(k / group)], 1..16: the whole grid o..o + 15 * s2 is within -127..127
  std::vector<std::int8_t> o;  // [n][ceil(k / group)]
  std::vector<float> s1;       // [n]; 0 for an all-zero row
  double error_minmax = 0;  // tr(d H d^T) / tr(w H w^T) of plain min-max rounding; 0 for an all-zero matrix
  double error = 0;         // the same of what is returned
};

// w: [n][k] finite; bias is not looked at. h: [k][k] symmetric, positive semidefinite. group: 32, 64 or 128.
QuantizedLinear search_w4(const GemmF32Kernel& gemm, const F32Matrix& w, std::span<const float> h,
                          std::size_t group, int threads);

struct QuantizedRowsW8 {
  std::vector<std::int8_t> q;  // [n][k], -127..127
  std::vector<float> s1;       // [n], max |w| / 127
  double error = 0;            // sum (w - w_hat)^2 / sum w^2
};

// Coarse grain only, for embedding and head: each row rounded to its own 255 levels.
QuantizedRowsW8 round_w8(const F32Matrix& w, int threads);

}  // namespace dgq
