// quantizer/linear_passes.h - one linear layer through the passes of a recipe.
#pragma once

#include <map>

#include "quantizer/pack_layer.h"
#include "quantizer/recipe.h"

namespace dgq {

struct LinearResult {
  PackedTensor tensor;
  double error_minmax, error;  // as in TensorReport
};

// For the linears that read the same inputs, one after the other: they share what depends on the inputs only.
class LinearPasses {
 public:
  // All borrowed.
  LinearPasses(const Recipe& recipe, const GemmF32Kernel& gemm, std::span<const float> h, int threads)
      : recipe_(recipe), gemm_(gemm), h_(h), threads_(threads) {}

  // bits 8: coarse only, whatever the passes.
  LinearResult run(const F32Matrix& w, const FineFormat& format);

 private:
  const ErrorFeedback& feedback(std::size_t k, std::size_t group, double damping);

  const Recipe& recipe_;
  const GemmF32Kernel& gemm_;
  std::span<const float> h_;  // of the inputs, [k][k]
  int threads_;
  std::map<std::pair<std::size_t, double>, ErrorFeedback> feedback_;  // by group and damping
};

}  // namespace dgq
