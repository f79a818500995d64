#include "quantizer/quantize_layer.h"

#include <cmath>
#include <optional>

#include "quantizer/linear_passes.h"

namespace dgq {
namespace {

// In the order of LinearId.
constexpr struct {
  const char* name;
  TapPoint input;
} kParts[kLinears] = {{"q_proj", TapPoint::q},       {"k_proj", TapPoint::q},
                      {"v_proj", TapPoint::q},       {"o_proj", TapPoint::o},
                      {"gate_proj", TapPoint::gate}, {"up_proj", TapPoint::gate},
                      {"down_proj", TapPoint::down}};

void add_norms(const ModelConfig& config, const LayerWeights& w, LayerPacker& packer) {
  packer.add_norm("input_layernorm", {w.input_norm, config.hidden});
  packer.add_norm("post_attention_layernorm", {w.post_attention_norm, config.hidden});
  if (w.q_norm) packer.add_norm("q_norm", {w.q_norm, config.head_dim});
  if (w.k_norm) packer.add_norm("k_norm", {w.k_norm, config.head_dim});
}

}  // namespace

Result<void> quantize_layer(const ModelConfig& config, const LayerWeights& w, const LayerFormats& formats,
                            const LayerInputs& inputs, const Recipe& recipe, const GemmF32Kernel& gemm,
                            int threads, LayerPacker& packer,
                            const std::function<void(const char* linear, double done)>& progress) {
  add_norms(config, w, packer);
  const auto linears = linears_of(w);
  std::optional<LinearPasses> passes;  // of the linears that read the same inputs
  for (std::size_t i = 0; i < kLinears; ++i) {
    progress(kParts[i].name, static_cast<double>(i) / static_cast<double>(kLinears));
    if (i == 0 || kParts[i].input != kParts[i - 1].input)
      passes.emplace(recipe, gemm, inputs[static_cast<std::size_t>(kParts[i].input)], threads);
    LinearResult result = passes->run(std::get<F32Matrix>(*linears[i]), formats[i]);
    if (!std::isfinite(result.report.error))
      return Error{Errc::corrupt,
                   packer.blob() + "." + kParts[i].name +
                       ": weights or activations leave the range of float32; is the checkpoint intact?"};
    packer.add(kParts[i].name, result.tensor, std::move(result.report));
  }
  return {};
}

}  // namespace dgq
