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
  bool operator==(const RopeScaling&) const = default;
};

inline constexpr int kMaxHeadDim = 1024;

struct ModelConfig {
  std::size_t hidden, ffn, layers, heads, kv_heads, head_dim, vocab, max_positions;  // all > 0
  double rms_eps, rope_theta;
  RopeScaling rope_scaling;
  bool tied_head;                   // lm_head is embed_tokens
  bool qkv_bias, o_bias, mlp_bias;  // linears carry a bias: q, k, v; o; gate, up, down
  bool qk_norm;                     // RMSNorm of each head of q and k before RoPE (Qwen3)
  std::int32_t bos = -1;            // -1: none
  std::vector<std::int32_t> eos;    // generation stops at any of them
  bool operator==(const ModelConfig&) const = default;
};

// Supported: LlamaForCausalLM (SmolLM, TinyLlama and many others are that), MistralForCausalLM, Qwen2ForCausalLM and
// Qwen3ForCausalLM, without sliding window. Whatever else the object holds must be known to change nothing: any other
// architecture, RoPE type, activation, quantization_config, or member that is neither known nor null or empty is Error
// unsupported by name; sizes out of range (head counts that do not divide, zero, above limits) are Error corrupt.
Result<ModelConfig> parse_config(const Json& config, std::string_view where);

// What a text starts with where nothing else says so: BOS, without one the first EOS, without either -1.
inline std::int32_t start_token(const ModelConfig& config) {
  return config.bos >= 0 || config.eos.empty() ? config.bos : config.eos.front();
}

// The canonical form, in which equal configs are equal texts: what parse_config reads and nothing else.
// Precondition: parse_config made it. Then parse_config(config_to_json(c)) == c.
Json config_to_json(const ModelConfig& config);

}  // namespace dgq
