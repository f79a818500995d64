// quantizer/coarse_layer.h - a layer with its linears rounded to W8: what calibration text runs through. It stands for the fp32
// layer (the product of the two roundings is far below what 4 bits cost) at the speed of the integer kernels and with a
// quarter of the memory, and it is what the layers after it see whatever their own recipe makes of this one.
#pragma once

#include <vector>

#include "quantizer/checkpoint.h"
#include "quantizer/pack_layer.h"

namespace dgq {

// Owns everything; moving keeps `weights` valid.
class CoarseLayer {
 public:
  CoarseLayer(const ModelConfig& config, const LayerWeights& f32, int threads);
  const LayerWeights& weights() const { return weights_; }
  std::size_t bytes() const { return bytes_; }

 private:
  LayerWeights weights_;
  std::vector<PackedTensor> linears_;
  std::vector<std::vector<float>> norms_;
  std::size_t bytes_ = 0;
};

}  // namespace dgq
