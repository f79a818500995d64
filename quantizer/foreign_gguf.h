// quantizer/foreign_gguf.h - GGUF files of families whose graph is not ours: quantized for llama.cpp by the error of the weights
// alone, since nobody here can run calibration text through them (runtime/foreign.h, docs/PLUGIN.md).
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "quantizer/container.h"
#include "quantizer/quantize.h"

namespace dgq {

struct ForeignGguf {
  Container files;
  Gguf content;     // of all parts; borrows from files
  std::string why;  // one line: what our graph lacks

  // None: no GGUF file, or one whose model is ours (or should be: what is wrong with it is then for Checkpoint::open to say).
  static Result<std::optional<ForeignGguf>> open(const std::filesystem::path& path);
};

// invalid: a pass of the recipe needs inputs of linears.
Result<void> check_foreign_recipe(const Recipe& recipe);

// As quantize(). Of options: recipe, activation_block, threads, force, tool, work. Linears are the tensors that place_of_linear()
// knows, of two dimensions and kFatWeights weights or more, in whole blocks of 32 columns; every other tensor stays as it is.
Result<QuantizeResult> quantize_foreign(const ForeignGguf& model, Registry& registry, const ModelRef& name,
                                        const QuantizeOptions& options, const Kernels& kernels,
                                        const QuantizeProgress& progress = {}, const Note& note = {});

}  // namespace dgq
