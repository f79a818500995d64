// quantizer/unpack.h - a model as a Hugging Face checkpoint folder again, for tools that do not know DGQ and for those who
// want to see that the format means what docs/FORMAT.md says.
#pragma once

#include <filesystem>
#include <string_view>

#include "base/result.h"
#include "quantizer/calibration.h"
#include "runtime/config.h"
#include "runtime/weights.h"

namespace dgq {

enum class FloatType { f32, bf16 };

// Writes config.json, tokenizer.json, model.safetensors, and where there is a chat template (the blob, or empty) the
// tokenizer_config.json that holds it: quantized linears as s1 * w8, everything else as it is. f32
// holds them exactly, bf16 rounds half to even. `folder` is there afterwards, whole, or not at all. invalid: something of
// this name is there already and is not an empty folder.
Result<void> unpack(const ModelConfig& config, const ModelWeights& weights, std::string_view tokenizer_json,
                    std::string_view chat_template, FloatType type, const std::filesystem::path& folder,
                    const Fraction& progress = {});

}  // namespace dgq
