// quantizer/quantize_layer.h - one decoder layer through a recipe: no other layer's result is needed.
#pragma once

#include <array>
#include <functional>

#include "quantizer/calibration.h"
#include "quantizer/linear_id.h"
#include "quantizer/pack_layer.h"
#include "quantizer/recipe.h"

namespace dgq {

using LayerFormats = std::array<FineFormat, kLinears>;  // in the order of LinearId

// Adds norms and quantized linears of `w` (fp32, smoothed) to `packer`. progress(linear at hand, fraction done before it).
// Error corrupt, naming the linear: weights or inputs are out of float32's range.
Result<void> quantize_layer(const ModelConfig& config, const LayerWeights& w, const LayerFormats& formats,
                            const LayerInputs& inputs, const Recipe& recipe, const GemmF32Kernel& gemm,
                            int threads, LayerPacker& packer,
                            const std::function<void(const char* linear, double done)>& progress);

// Adds embedding or head as the recipe wants them.
void quantize_end(const F32Matrix& w, const std::string& name, const Recipe& recipe, int threads,
                  LayerPacker& packer);

}  // namespace dgq
