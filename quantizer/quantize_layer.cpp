#include "quantizer/quantize_layer.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "quantizer/linear_passes.h"
#include "quantizer/round_w8.h"

namespace dgq {
namespace {

// In the order of LinearId.
constexpr const char* kNames[kLinears] = {"q_proj",    "k_proj",  "v_proj",   "o_proj",
                                          "gate_proj", "up_proj", "down_proj"};

void add_norms(const ModelConfig& config, const LayerWeights& w, LayerPacker& packer) {
  packer.add_norm("input_layernorm", {w.input_norm, config.hidden});
  packer.add_norm("post_attention_layernorm", {w.post_attention_norm, config.hidden});
  if (w.q_norm) packer.add_norm("q_norm", {w.q_norm, config.head_dim});
  if (w.k_norm) packer.add_norm("k_norm", {w.k_norm, config.head_dim});
}

// Only where there are any: layers without are the same bytes as before there were scales.
void add_input_scales(const LayerWeights& w, LayerPacker& packer) {
  const auto given = [](float scale) { return scale > 0; };
  if (std::any_of(w.input_scale.begin(), w.input_scale.end(), given))
    packer.add_scales("input_scales", w.input_scale);
}

}  // namespace

Result<void> quantize_layer(const ModelConfig& config, const LayerWeights& w, const LayerFormats& formats,
                            const LayerInputs& inputs, const Recipe& recipe, const GemmF32Kernel& gemm,
                            int threads, LayerPacker& packer,
                            const std::function<void(const char* linear, double done)>& progress) {
  add_norms(config, w, packer);
  add_input_scales(w, packer);
  const auto linears = linears_of(w);
  std::optional<LinearPasses> passes;  // of the linears that read the same inputs
  for (std::size_t i = 0; i < kLinears; ++i) {
    progress(kNames[i], static_cast<double>(i) / static_cast<double>(kLinears));
    const auto id = static_cast<LinearId>(i);
    if (first_reader(id) == id)
      passes.emplace(recipe, gemm, inputs[static_cast<std::size_t>(input_of(id))], threads);
    LinearResult result = passes->run(std::get<F32Matrix>(*linears[i]), formats[i]);
    if (!std::isfinite(result.report.error))
      return Error{Errc::corrupt,
                   packer.blob() + "." + kNames[i] +
                       ": weights or activations leave the range of float32; is the checkpoint intact?"};
    packer.add(kNames[i], result.tensor, std::move(result.report));
  }
  return {};
}

void quantize_end(const F32Matrix& w, const std::string& name, const Recipe& recipe, int threads,
                  LayerPacker& packer) {
  if (recipe.ends == Ends::f32) return packer.add(name, PackedTensor::f32(w), {});
  const CoarseLinear rounded = round_w8(w, threads);
  TensorReport report;
  report.error_minmax = report.error = rounded.error;
  packer.add(name, PackedTensor::w8(w, rounded), std::move(report));
}

}  // namespace dgq
