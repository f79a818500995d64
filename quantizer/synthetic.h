// quantizer/synthetic.h - tensors and tokenizer of a checkpoint that nobody trained: Checkpoint::synthetic().
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "runtime/config.h"

namespace dgq {

// Norms are 1, biases 0; matrices [n][k] are about normal with deviation 1 / sqrt(k), seeded by the tensor's name, so that
// activations keep their size from layer to layer.
std::vector<float> synthetic_tensor(const std::string& name, const std::vector<std::uint64_t>& shape);

// A tokenizer.json of byte level: token 0 ends a text, 1..256 are the bytes, the others "#257" and so on, so that whatever such a model
// generates is text; no text becomes them. invalid: the vocabulary is smaller.
Result<std::string> synthetic_tokenizer(const ModelConfig& config);

}  // namespace dgq
