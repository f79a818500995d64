// quantizer/round_w8.h - coarse grain only, for embedding and head: each row rounded to its own 255 levels.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/gemm_f32.h"

namespace dgq {

struct CoarseLinear {
  std::vector<std::int8_t> q;  // [n][k], -127..127
  std::vector<float> s1;       // [n], max |w| / 127
  double error = 0;            // sum (w - w_hat)^2 / sum w^2
};

CoarseLinear round_w8(const F32Matrix& w, int threads);

// As quantizer/fine_linear.h's: what is lost at the output.
double output_loss(const GemmF32Kernel& gemm, const F32Matrix& w, std::span<const float> h,
                   const CoarseLinear& linear, int threads);

}  // namespace dgq
