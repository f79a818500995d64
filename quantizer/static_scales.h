// quantizer/static_scales.h - the pass `static-activations`: one scale for an input of linears, from calibration text, instead of one
// for every token and block (DGQ, arXiv 2310.04836, has both), where that costs little.
//
//   x_hat = s * clamp(round(x / s), -127, 127)
//   cost of an input ~ 1/2 * mean over tokens of sum_k (d loss / d x[k])^2 * (x[k] - x_hat[k])^2
//
// the second order of the KL divergence (quantizer/model_backward.h), rounding errors of channels taken as independent. s is
// the one of lowest cost from max |x| / 127 downwards: clipping a few values may cost less than coarser steps for all.
#pragma once

#include <vector>

#include "quantizer/model_backward.h"

namespace dgq {

struct StaticScale {
  float scale;  // 0: the input is always 0
  double cost;  // expected KLD
};
using LayerStaticScales = std::array<StaticScale, kInputs>;  // in the order of TapPoint

// Of every layer, from the sequences' way through the fp32 model and back. The same bits for every kernel and number of threads.
Result<std::vector<LayerStaticScales>> measure_static_scales(
    const Checkpoint& checkpoint, const LayerReader& read_layer, const Kernels& kernels,
    const std::vector<Sequence>& sequences, std::uint64_t seed, int threads, const Fraction& progress);

// The cheapest ones, as long as the sum of their costs stays within `limit`; 0 for the others.
std::vector<InputScales> choose_static(const std::vector<LayerStaticScales>& layers, double limit);

}  // namespace dgq
