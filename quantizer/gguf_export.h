// quantizer/gguf_export.h - a version of the registry as a GGUF file for llama.cpp with our backend (docs/PLUGIN.md).
#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "base/result.h"
#include "quantizer/carried_tensor.h"
#include "runtime/model.h"
#include "runtime/stored_linears.h"

namespace dgq {

// Metadata, tokenizer, chat template, norms and biases as llama.cpp wants them, and the linears as said
// (quantizer/carried_tensor.h). `name`: the model's, shown by hosts. unsupported: a tokenizer that GGUF has no words for, or (fat)
// weights beyond float16.
Result<void> export_gguf(const Model& model, const std::string& name, GgufWeights weights,
                         const std::filesystem::path& path, const Fraction& progress = {});

// The same of a foreign version (runtime/foreign.h). rest: its blob of this name; metadata and tensors in it are kept, but for the
// model's name (thin), and what concerns the tensors' type.
Result<void> export_gguf(const StoredLinears& version, std::span<const std::byte> rest,
                         const std::string& name, GgufWeights weights, const std::filesystem::path& path,
                         const Fraction& progress = {});

}  // namespace dgq
