// quantizer/match_inputs.h - weights for the inputs that the quantized model really gives them: what went wrong before a
// layer is made up for in it, as far as a linear layer can. The asymmetric calibration of GPTAQ (arXiv 2504.02692, section 4)
// as a step of its own, as in Qronos (arXiv 2505.11695, section 3).
//
//   min over W' of |X32 W^T - X W'^T|^2   =>   W' = W + W (X32 - X)^T X (X^T X + damping)^-1
#pragma once

#include <vector>

#include "kernels/gemm_f32.h"
#include "quantizer/calibration.h"

namespace dgq {

// W' [n][k]. damping: added to the diagonal, as a share of its mean. strength: 0 leaves W as it is, 1 goes all the way.
std::vector<float> match_inputs(const GemmF32Kernel& gemm, const F32Matrix& w, const InputStatistics& inputs,
                                double damping, double strength, int threads);

}  // namespace dgq
