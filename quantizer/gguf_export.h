// quantizer/gguf_export.h - a version of the registry as a GGUF file for llama.cpp with our backend (docs/PLUGIN.md).
#pragma once

#include <filesystem>
#include <string>

#include "base/result.h"
#include "quantizer/calibration.h"
#include "runtime/model.h"

namespace dgq {

enum class GgufWeights {
  thin,  // none: each linear is a hole that names its layer blob (runtime/gguf_carrier.h)
  fat    // the same weights in Q8_0, which also name it
};

// Metadata, tokenizer, norms and biases as llama.cpp wants them, and the linears as said. Linears too small to name
// a blob, or whose columns are no multiple of 32 (fat), are written in F32 and stay llama.cpp's. `name`: the model's,
// shown by hosts. unsupported: a tokenizer that GGUF has no words for, or (fat) weights beyond float16.
Result<void> export_gguf(const Model& model, const std::string& name, GgufWeights weights,
                         const std::filesystem::path& path, const Fraction& progress = {});

}  // namespace dgq
