// quantizer/smooth.h - percentile clipping smoothing of the DGQ paper (arXiv 2310.04836, section 3.3): channels whose activations
// are far larger than the others' are scaled down where they are made, and the columns of the weights that read them up. The
// model computes the same; int8 activations lose less.
//
//   channel c of an input, a[c] = max |x[c]| on calibration text, t = the percentile of all a:  f[c] = max(1, a[c] / t)
//   norm -> q, k, v and norm -> gate, up   the norm's weight / f, columns * f
//   v -> o                                 rows of v / f, columns of o * f; heads that share a row of v share its f
//   up -> down                             rows of up / f, columns of down * f
#pragma once

#include <vector>

#include "base/result.h"
#include "kernels/table.h"
#include "quantizer/calibration.h"
#include "quantizer/checkpoint.h"

namespace dgq {

// f of each input of a layer's linears; 1 where nothing changes.
struct LayerFactors {
  std::vector<float> q, gate;  // [hidden]
  std::vector<float> o;        // [kv_heads * head_dim]
  std::vector<float> down;     // [ffn]
};

// Of every layer, from the sequences' way through the fp32 model. percentile: 0..100.
Result<std::vector<LayerFactors>> measure_factors(const Checkpoint& checkpoint, const LayerReader& read_layer,
                                                  const Kernels& kernels,
                                                  const std::vector<Sequence>& sequences, double percentile,
                                                  int threads, const Fraction& progress);

// f from the channels' maxima a. The percentile's rank is rounded down; where t is 0 all f are 1.
std::vector<float> factors_of(const std::vector<float>& maxima, double percentile);

// Folds the factors into the layer's weights.
void apply(const LayerFactors& factors, const ModelConfig& config, LayerF32& layer);

}  // namespace dgq
