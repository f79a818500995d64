#include "quantizer/calibration.h"

#include <algorithm>
#include <optional>

#include "quantizer/gram.h"

namespace dgq {
namespace {

std::size_t sequence_length(const ModelConfig& config) { return std::min(kCalibrationLength, config.max_positions); }

std::int32_t first_token(const ModelConfig& config) {
  return config.bos >= 0 ? config.bos : config.eos.empty() ? 0 : config.eos.front();
}

void report(const Fraction& progress, double done) {
  if (progress) progress(done);
}

ModelConfig one_layer(ModelConfig config) {
  config.layers = 1;
  return config;
}

// The fp32 layers of a checkpoint for many passes: the first ones stay, as many as fit; the others are read each time.
class LayerSource {
 public:
  explicit LayerSource(const Checkpoint& checkpoint) : checkpoint_(checkpoint), kept_(checkpoint.config().layers) {}

  Result<const LayerWeights*> get(std::size_t index) {
    if (kept_[index]) return &kept_[index]->weights;
    DGQ_TRY(LayerF32 layer, checkpoint_.layer(index));
    std::size_t bytes = 0;
    for (const std::vector<float>& tensor : layer.storage) bytes += tensor.size() * sizeof(float);
    std::optional<LayerF32>& slot = kept_bytes_ + bytes <= kSamplingBytes ? kept_[index] : passing_;
    if (&slot != &passing_) kept_bytes_ += bytes;
    slot = std::move(layer);
    return &slot->weights;
  }

 private:
  static constexpr std::size_t kSamplingBytes = 1u << 30;
  const Checkpoint& checkpoint_;
  std::vector<std::optional<LayerF32>> kept_;
  std::optional<LayerF32> passing_;
  std::size_t kept_bytes_ = 0;
};

}  // namespace
}  // namespace dgq
