// runtime/logits_hash.h - what a model computes, in 32 bytes: the same on every kernel, thread count and CPU.
#pragma once

#include <span>

#include "base/digest.h"
#include "base/result.h"
#include "runtime/decoder.h"

namespace dgq {

// SHA-256 over the bits of all logits of the tokens, little-endian, position by position. Both ways to compute them must
// agree: all tokens at once (the kernels' prefill side) and one by one (their decode side). decoder: made for config.
// Errors: invalid: no token, more than the model's positions, or one outside the vocabulary; corrupt: the two ways differ, or
// a logit is not finite.
Result<Digest> hash_logits(const ModelConfig& config, const ModelWeights& weights, Decoder& decoder,
                           KvType kv, std::span<const std::int32_t> tokens);

}  // namespace dgq
