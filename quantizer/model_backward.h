// quantizer/model_backward.h - the gradient of the model's own surprise, through the whole fp32 model, one layer at a time.
//
//   loss = sum over positions of -log p(label),  label drawn from the model's prediction p at that position
//
// With labels of the model's own, products of these gradients make the Fisher matrix, the second order of the KL divergence
// (arXiv 1905.12558): no text is fitted.
#pragma once

#include <functional>
#include <vector>

#include "base/result.h"
#include "kernels/table.h"
#include "quantizer/backward.h"
#include "quantizer/calibration.h"
#include "quantizer/checkpoint.h"

namespace dgq {

inline constexpr std::uint64_t kLabelSeed = 1;  // what the quantizer draws labels with

struct BackwardSteps {
  // Before a layer's first sequence; layers come from the last to the first.
  std::function<void(std::size_t layer, const LayerWeights& weights)> begin_layer;
  // For every sequence and linear of a layer: the gradient by its output [m][n], and its input [m][k].
  std::function<void(std::size_t sequence, LinearId linear, const std::vector<float>& gradient,
                     const std::vector<float>& input)>
      see;
  // After its last sequence.
  std::function<void(std::size_t layer)> end_layer;
};

// Holds the hidden rows of all sequences after every layer. corrupt: a tensor that is not finite.
Result<void> run_backward(const Checkpoint& checkpoint, const LayerReader& read_layer, const Kernels& kernels,
                          const std::vector<Sequence>& sequences, std::uint64_t seed, int threads,
                          const BackwardSteps& steps, const Fraction& progress);

}  // namespace dgq
