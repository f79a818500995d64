// quantizer/carried_tensor.h - a linear of a version as the tensor of a GGUF file that names it (runtime/gguf_carrier.h).
#pragma once

#include <string>

#include "quantizer/gguf_output.h"
#include "runtime/carrier.h"
#include "runtime/weights.h"

namespace dgq {

enum class GgufWeights {
  thin,  // none: each linear is a hole that names its layer blob
  fat    // the same weights in Q8_0, which also name it
};

// Without the bias. A linear that is too small to name a blob, or whose columns are no multiple of 32 (fat), is in F32 and names none.
// carrier.rotary: the file's rows are in pairs. `linear` borrows its weights. unsupported, when written fat: weights beyond
// float16.
GgufTensor carried_tensor(const std::string& name, const Linear& linear, const Carrier& carrier,
                          GgufWeights weights);

// Row of ours that stands at `row` in the file: llama.cpp turns neighbours (2i, 2i + 1) of architecture llama together, we rows
// (i, i + head_dim / 2) of a head. head_dim 0: rows are the same.
std::size_t row_of_ours(std::size_t row, std::size_t head_dim);

// The entries that every such file begins with; `name` is the model's, for people.
GgufMetadata begin_carrier_metadata(const Digest& version, const std::string& name, GgufWeights weights);

}  // namespace dgq
