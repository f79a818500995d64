// quantizer/linear_shapes.h - the sizes of a layer's linears, known before any weight is read.
#pragma once

#include <array>
#include <cstddef>

#include "quantizer/linear_id.h"
#include "runtime/config.h"

namespace dgq {

struct LinearShape {
  std::size_t n, k;
  bool bias;
};

// In the order of LinearId.
inline std::array<LinearShape, kLinears> linear_shapes(const ModelConfig& c) {
  const std::size_t q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  return {{{q, c.hidden, c.qkv_bias},
           {kv, c.hidden, c.qkv_bias},
           {kv, c.hidden, c.qkv_bias},
           {c.hidden, q, c.o_bias},
           {c.ffn, c.hidden, c.mlp_bias},
           {c.ffn, c.hidden, c.mlp_bias},
           {c.hidden, c.ffn, c.mlp_bias}}};
}

inline std::size_t linear_weights(const ModelConfig& c) {  // of all layers
  std::size_t weights = 0;
  for (const LinearShape& shape : linear_shapes(c)) weights += shape.n * shape.k * c.layers;
  return weights;
}

}  // namespace dgq
