// quantizer/sensitivity.h - what errors in each linear cost the model: the second order of the KL divergence.
//
//   KLD(W + d) ~ 1/2 * sum over tensors, rows n of F[n] * (d[n] H d[n]^T) / tokens
//   F[n] = mean over tokens of (d loss / d y[n])^2,  loss as in quantizer/model_backward.h
//
// F is the diagonal of the Fisher matrix by the linear's outputs. Error compensation turns d H d^T into
// sum_c L[c][c]^2 * e[c]^2 (quantizer/compensate.h), with e the rounding errors of single weights: that is kept as
// `column_weight`.
#pragma once

#include <vector>

#include "base/result.h"
#include "kernels/table.h"
#include "quantizer/calibration.h"
#include "quantizer/checkpoint.h"
#include "quantizer/model_backward.h"

namespace dgq {

struct LinearSensitivity {
  std::size_t n, k;
  std::vector<double> row_fisher;  // [n]
  std::vector<double>
      column_weight;  // [k]: mean over tokens of what a unit of e[c]^2 adds to d H d^T, compensated
};
using LayerSensitivity = std::vector<LinearSensitivity>;  // [kLinears]

// Runs the sequences through the fp32 model forward and back, one layer at a time; holds their hidden rows after every layer.
// damping: of H, as in CompensateOptions. corrupt: a tensor that is not finite.
Result<std::vector<LayerSensitivity>> measure_sensitivity(const Checkpoint& checkpoint,
                                                          const LayerReader& read_layer,
                                                          const Kernels& kernels,
                                                          const std::vector<Sequence>& sequences,
                                                          double damping, std::uint64_t seed, int threads,
                                                          const Fraction& progress);

}  // namespace dgq
