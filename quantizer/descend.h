// quantizer/descend.h - coordinate descent on the exact output error d H d^T of each row: the last polish, whatever made the
// grid. In turn, while the error falls:
//   codes    q[k] moves to the best level while all others stay (QuantEase, arXiv 2309.01885, section 3)
//   grids    a group's s2 and o move to neighbouring integers, its codes as they are
//   s1       closed form: s1 = (w H w8) / (w8 H w8)
#pragma once

#include <span>

#include "quantizer/fine_linear.h"

namespace dgq {

struct DescendOptions {
  std::size_t rounds = 3;  // of grids, s1 and codes
  std::size_t sweeps = 4;  // over the codes of a row in a round, fewer when nothing moves any more
};

// Never raises a row's error (but for rounding in float). w: [n][k], h: [k][k]. The same bytes for every kernel and number of
// threads.
void descend(const GemmF32Kernel& gemm, const F32Matrix& w, std::span<const float> h,
             const FineFormat& format, const DescendOptions& options, int threads, FineLinear& linear);

}  // namespace dgq
