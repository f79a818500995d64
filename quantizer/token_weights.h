// quantizer/token_weights.h - which tokens matter: errors at a layer's output cost the more KL divergence, the larger the
// gradient there is. As in GuidedQuant (arXiv 2505.07004, section 3), with one weight for all linears that read an input.
//
//   H = sum over tokens of weight[t] * x[t]^T x[t],   weight[t] ~ sum over outputs n of (d loss / d y[n][t])^2
#pragma once

#include "quantizer/calibration.h"
#include "quantizer/model_backward.h"

namespace dgq {

// In the order of TapPoint; the mean of each point is 1.
using LayerTokenWeights = std::array<TokenWeights, 4>;

// strength: 0 makes all weights 1, 1 takes them as they are; the root of a weight is at most `limit` times that of the mean.
Result<std::vector<LayerTokenWeights>> measure_token_weights(
    const Checkpoint& checkpoint, const LayerReader& read_layer, const Kernels& kernels,
    const std::vector<Sequence>& sequences, double strength, double limit, std::uint64_t seed, int threads,
    const Fraction& progress);

}  // namespace dgq
