// runtime/config.h - the numbers that define a decoder's graph, from a Hugging Face config.json.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace dgq {

// RoPE frequencies scaled for longer contexts, as Hugging Face `rope_scaling` defines them.
struct RopeScaling {
  enum class Kind { none, linear, llama3 } kind = Kind::none;
  double factor = 1, low_freq_factor = 1, high_freq_factor = 4;
  std::size_t original_max_positions = 8192;
};

inline constexpr int kMaxHeadDim = 1024;

struct ModelConfig {
  std::size_t hidden, ffn, layers, heads, kv_heads, head_dim, vocab, max_positions;  // all > 0
  double rms_eps, rope_theta;
  RopeScaling rope_scaling;
  bool tied_head;                 // lm_head is embed_tokens
  bool attention_bias, mlp_bias;  // linears carry a bias: q, k, v, o; gate, up, down
  std::int32_t bos = -1;          // -1: none
  std::vector<std::int32_t> eos;  // generation stops at any of them
};

// Supported: LlamaForCausalLM, MistralForCausalLM without sliding window. Anything in the object that would
// change the mathematics and is not supported (architecture, RoPE type, activation, quantization_config, ...)
// is Error unsupported by name; sizes out of range (head counts that do not divide, zero, above limits) are
// Error corrupt.
Result<ModelConfig> parse_config(const Json& config, std::string_view where);

}  // namespace dgq
