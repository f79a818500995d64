// runtime/weights.h - the weights of a decoder as the graph sees them: borrowed views, fp32 or quantized alike.
#pragma once

#include <array>
#include <variant>
#include <vector>

#include "kernels/gemm_f32.h"
#include "kernels/packed.h"

namespace dgq {

using Linear = std::variant<F32Matrix, W4Matrix, W6Matrix, W8Matrix>;

inline constexpr std::size_t kInputs = 4;  // of a layer's linears: of q, k, v; of o; of gate, up; of down

// Of the inputs of a layer's linears in int8, in the order of TapPoint; 0: found for every row and block.
using InputScales = std::array<float, kInputs>;

// One decoder layer. Norms are [hidden] floats unless said otherwise.
struct LayerWeights {
  const float* input_norm;
  Linear q, k, v;  // [heads * head_dim][hidden], [kv_heads * head_dim][hidden] twice
  Linear o;        // [hidden][heads * head_dim]
  const float* post_attention_norm;
  Linear gate, up;  // [ffn][hidden]
  Linear down;      // [hidden][ffn]
  const float *q_norm = nullptr,
              *k_norm = nullptr;  // [head_dim]: of every head of q and of k; null: there is none
  InputScales input_scale{};
};

struct ModelWeights {
  Linear embedding;  // [vocab][hidden]; rows are looked up, bias unused
  std::vector<LayerWeights> layers;
  const float* final_norm;
  Linear head;  // [vocab][hidden]; the embedding again when tied
};

}  // namespace dgq
