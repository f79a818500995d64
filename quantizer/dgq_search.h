// quantizer/dgq_search.h - Dual Grained Quantization of one linear layer: the two-phase grid search of arXiv 2310.04836.
//
// Errors are d H d^T (quantizer/fine_linear.h), the squared error of an output summed over the calibration tokens: both
// phases minimise what the layer puts out, not the distance of the weights.
//   Phase 1, per group: clip ratio of the min-max range and position of the grid -> step s', start o' (real numbers),
//                       judged with the group's diagonal block of H.
//   Phase 2, per row:   s1 over a grid; s2 = round(s' / s1), o = round(o' / s1), q rounded again; judged with all of H.
//                       Then each group's s2 and o move to neighbouring integers while that lowers the row's error.
// Plain min-max rounding is one candidate of phase 2, so no row comes out worse than it (judged with all of H).
//
// The result is the same bytes for every kernel row and number of threads.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "quantizer/fine_linear.h"

namespace dgq {

// What is tried. Measured on `eval`, layer 0, q_proj, group 128 (min-max 0.00433): these 0.00270; 31 coarse scales 0.00268 at
// twice the time; no shifts 0.00272; no sweeps 0.00305, one 0.00276.
struct SearchOptions {
  std::size_t clips = 12;  // phase 1: ranges 1, 1 - clip_step, ... of min-max,
  double clip_step = 0.04;
  std::size_t shifts = 3;  // each at positions -shift_step, 0, shift_step, in steps
  double shift_step = 0.25;
  std::size_t coarse = 16;  // phase 2: s1 = ratio * max |w| / 127, ratio = coarse_first, + coarse_step, ...
  double coarse_first = 0.8, coarse_step = 0.025;
  std::size_t sweeps = 2;  // then over the groups, each to its best neighbour; 0 without all_of_h
  bool all_of_h = true;    // false: phase 2 judges group by group, for passes that come after
};

// w: [n][k] finite; bias is not looked at. h: [k][k] symmetric, positive semidefinite; empty: the identity, which judges the
// distance of the weights after all, for want of inputs, and costs k times less.
FineLinear search(const GemmF32Kernel& gemm, const F32Matrix& w, std::span<const float> h,
                  const FineFormat& format, const SearchOptions& options, int threads);

// Each group from its smallest to its largest weight, s1 = max |w| / 127: what a search is compared with.
FineLinear round_min_max(const F32Matrix& w, const FineFormat& format, int threads);

}  // namespace dgq
