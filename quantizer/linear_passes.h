// quantizer/linear_passes.h - one linear layer through the passes of a recipe.
#pragma once

#include <map>
#include <optional>

#include "quantizer/input_report.h"
#include "quantizer/pack_layer.h"
#include "quantizer/recipe.h"

namespace dgq {

struct LinearResult {
  PackedTensor tensor;
  TensorReport report;  // what tensor does not say: errors, clipped, input
};

// For the linears that read the same inputs, one after the other: they share what depends on the inputs only. Inputs without H
// are not known: then errors are those of the weights, and the recipe has no pass but search or round.
class LinearPasses {
 public:
  // All borrowed.
  LinearPasses(const Recipe& recipe, const GemmF32Kernel& gemm, const LinearInputs& inputs, int threads)
      : recipe_(recipe), gemm_(gemm), h_(inputs.h), threads_(threads) {
    if (!h_.empty()) input_report_ = report_inputs(inputs);
  }

  // bits 8: coarse only, whatever the passes.
  LinearResult run(const F32Matrix& w, const FineFormat& format);

 private:
  LinearResult run_coarse(const F32Matrix& w);
  // loss: sum d H d^T.
  double relative(double loss, double energy) const { return energy > 0 ? loss / energy : loss; }
  const ErrorFeedback& feedback(std::size_t k, std::size_t group, double damping);

  const Recipe& recipe_;
  const GemmF32Kernel& gemm_;
  std::span<const float> h_;  // of the inputs, [k][k]; empty: not known
  std::optional<InputReport> input_report_;
  int threads_;
  std::map<std::pair<std::size_t, double>, ErrorFeedback> feedback_;  // by group and damping
};

}  // namespace dgq
