// runtime/bind.h - tensors of a layer blob as the views that the graph wants, checked.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"
#include "registry/layer_blob.h"
#include "runtime/config.h"
#include "runtime/weights.h"

namespace dgq {

// One tensor as a linear of its own shape. corrupt: its section is not of that shape, or against the invariants. `where` names
// the blob.
Result<Linear> bind_linear(const Tensor& tensor, const std::string& where);
// The static scales of a decoder layer's inputs; zeros where the blob has none.
Result<InputScales> bind_input_scales(const LayerBlob& blob, const std::string& where);

// Each parses `bytes` (borrowed, 64-byte aligned) as one blob and binds all its tensors; a tensor too many or too few, of
// another shape than the config's, or against the invariants is an Error (corrupt) that starts with `where`.
Result<Linear> bind_embedding(std::span<const std::byte> bytes, const ModelConfig& config,
                              const std::string& where);
Result<LayerWeights> bind_layer(std::span<const std::byte> bytes, const ModelConfig& config,
                                const std::string& where);
// Sets final_norm, and head: to its own tensor or, when tied, to the embedding.
Result<void> bind_head(std::span<const std::byte> bytes, const ModelConfig& config, const std::string& where,
                       ModelWeights& weights);

}  // namespace dgq
