#include "quantizer/coarse_layer.h"

#include "quantizer/linear_id.h"
#include "quantizer/round_w8.h"

namespace dgq {

CoarseLayer::CoarseLayer(const ModelConfig& config, const LayerWeights& f32, int threads) : weights_(f32) {
  for (Linear* linear : linears_of(weights_)) {
    const auto& matrix = std::get<F32Matrix>(*linear);
    linears_.push_back(PackedTensor::w8(matrix, round_w8(matrix, threads)));
    *linear = linears_.back().linear();
    bytes_ += linears_.back().section().size();
  }
  const auto own = [&](const float*& norm, std::size_t size) {
    if (norm) norm = norms_.emplace_back(norm, norm + size).data();
  };
  own(weights_.input_norm, config.hidden);
  own(weights_.post_attention_norm, config.hidden);
  own(weights_.q_norm, config.head_dim);
  own(weights_.k_norm, config.head_dim);
}

}  // namespace dgq
