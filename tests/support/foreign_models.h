// tests/support/foreign_models.h - tiny GGUF files of families that llama.cpp knows and we do not, with random weights in every type.
#pragma once

#include <algorithm>
#include <cmath>

#include "tests/support/gguf_writer.h"

namespace dgq::test {

inline constexpr std::uint32_t kGgufF32 = 0, kGgufF16 = 1, kGgufQ8 = 8, kGgufBf16 = 30;

// Of 2^-14 <= |value| < 65504, towards zero, and 0 below.
inline std::uint16_t half_towards_zero(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const std::uint32_t magnitude = bits & 0x7fffffff;
  const std::uint32_t half = magnitude < 0x38800000 ? 0 : (magnitude - 0x38000000) >> 13;
  return static_cast<std::uint16_t>((bits >> 16 & 0x8000) | half);
}

// The values as a type of tensor holds them. Q8_0: in blocks of 32.
inline std::string in_gguf_type(std::uint32_t type, const std::vector<float>& values) {
  if (type == kGgufF32) return f32_tensor({}, values).bytes;
  if (type == kGgufBf16) return bf16_tensor({}, values).bytes;
  std::string bytes;
  if (type == kGgufF16)
    for (const float value : values) bytes += little_endian(half_towards_zero(value));
  if (type == kGgufQ8)
    for (std::size_t at = 0; at < values.size(); at += 32) {
      bytes += little_endian(half_towards_zero(1.0f / 512));
      for (std::size_t i = at; i < at + 32; ++i)
        bytes +=
            static_cast<char>(static_cast<int>(std::clamp(std::nearbyint(values[i] * 512), -127.f, 127.f)));
    }
  return bytes;
}

class ForeignModel {
 public:
  explicit ForeignModel(const std::string& architecture) : architecture_(architecture) {
    gguf.set("general.architecture", architecture);
    gguf.set("general.name", "a tiny " + architecture);
    gguf.set("general.file_type", 1u);
    gguf.set("general.tags",
             std::vector<std::string>{"tiny", "made up"});  // an entry that means nothing to anybody here
    set_gguf_tokenizer(gguf, tiny_tokenizer(), "gpt-2");
    gguf.set("tokenizer.ggml.bos_token_id", 0u);
    gguf.set("tokenizer.ggml.eos_token_id", 0u);
    gguf.set("tokenizer.chat_template", "{{ messages[0].content }}");
  }
  template <class T>
  void set(const char* key, const T& value) {
    gguf.set(architecture_ + "." + key, value);
  }
  // Of the deviation with which a linear keeps the size of its input.
  void linear(const std::string& name, std::uint64_t n, std::uint64_t k, std::uint32_t type) {
    const float deviation = 1 / std::sqrt(static_cast<float>(k));
    gguf.tensors.push_back(
        {name + ".weight", {n, k}, type, in_gguf_type(type, random_floats(n * k, deviation, ++seed_))});
  }
  void vector(const std::string& name, std::uint64_t n, float around) {
    std::vector<float> values = random_floats(n, 0.1f, ++seed_);
    for (float& value : values) value += around;
    gguf.tensors.push_back({name, {n}, kGgufF32, in_gguf_type(kGgufF32, values)});
  }

  GgufWriter gguf;

 private:
  std::string architecture_;
  std::uint64_t seed_ = 100;
};

inline constexpr std::uint32_t kForeignVocabulary = 260, kForeignBlocks = 2;

// LayerNorm with biases, learned positions (looked up, in Q8_0), q, k and v in one linear, all linears with biases, tied head.
inline GgufWriter tiny_gpt2() {
  constexpr std::uint32_t kHidden = 160, kFfn = 320, kPositions = 256;
  ForeignModel model("gpt2");
  model.set("context_length", kPositions), model.set("embedding_length", kHidden);
  model.set("feed_forward_length", kFfn), model.set("block_count", kForeignBlocks);
  model.set("attention.head_count", 5u), model.set("attention.layer_norm_epsilon", 1e-5f);
  model.linear("token_embd", kForeignVocabulary, kHidden, kGgufF16);
  model.linear("position_embd", kPositions, kHidden, kGgufQ8);
  model.vector("output_norm.weight", kHidden, 1), model.vector("output_norm.bias", kHidden, 0);
  for (std::uint32_t i = 0; i < kForeignBlocks; ++i) {
    const std::string block = "blk." + std::to_string(i) + ".";
    for (const char* norm : {"attn_norm", "ffn_norm"})
      model.vector(block + norm + ".weight", kHidden, 1), model.vector(block + norm + ".bias", kHidden, 0);
    const auto linear = [&](const char* name, std::uint64_t n, std::uint64_t k, std::uint32_t type) {
      model.linear(block + name, n, k, type), model.vector(block + name + ".bias", n, 0);
    };
    linear("attn_qkv", 3 * kHidden, kHidden, kGgufF16);
    linear("attn_output", kHidden, kHidden, kGgufF32);
    linear("ffn_up", kFfn, kHidden, kGgufQ8);
    linear("ffn_down", kHidden, kFfn, kGgufBf16);
  }
  return model.gguf;
}
inline constexpr std::size_t kGpt2Linears = 1 + 4 * kForeignBlocks;

// GeGLU, a scaled embedding, heads wider than hidden / heads; k and v have just the weights that it takes to name a blob.
inline GgufWriter tiny_gemma() {
  constexpr std::uint32_t kHidden = 160, kFfn = 320, kHeads = 4, kKvHeads = 2, kHeadDim = 64;
  ForeignModel model("gemma");
  model.set("context_length", 256u), model.set("embedding_length", kHidden);
  model.set("feed_forward_length", kFfn), model.set("block_count", kForeignBlocks);
  model.set("attention.head_count", kHeads), model.set("attention.head_count_kv", kKvHeads);
  model.set("attention.key_length", kHeadDim), model.set("attention.value_length", kHeadDim);
  model.set("attention.layer_norm_rms_epsilon", 1e-6f);
  model.linear("token_embd", kForeignVocabulary, kHidden, kGgufBf16);
  model.vector("output_norm.weight", kHidden, 1);
  for (std::uint32_t i = 0; i < kForeignBlocks; ++i) {
    const std::string block = "blk." + std::to_string(i) + ".";
    model.vector(block + "attn_norm.weight", kHidden, 1), model.vector(block + "ffn_norm.weight", kHidden, 1);
    model.linear(block + "attn_q", kHeads * kHeadDim, kHidden, kGgufF16);
    model.linear(block + "attn_k", kKvHeads * kHeadDim, kHidden, kGgufBf16);
    model.linear(block + "attn_v", kKvHeads * kHeadDim, kHidden, kGgufQ8);
    model.linear(block + "attn_output", kHidden, kHeads * kHeadDim, kGgufF32);
    model.linear(block + "ffn_gate", kFfn, kHidden, kGgufF16);
    model.linear(block + "ffn_up", kFfn, kHidden, kGgufF16);
    model.linear(block + "ffn_down", kHidden, kFfn, kGgufQ8);
  }
  return model.gguf;
}
inline constexpr std::size_t kGemmaLinears = 1 + 7 * kForeignBlocks;

// Of an architecture that we have, but with experts, which stay as they are; a head of its own.
inline GgufWriter tiny_mixture() {
  constexpr std::uint32_t kHidden = 160, kFfn = 64, kHeads = 5, kExperts = 4;
  ForeignModel model("llama");
  model.set("context_length", 256u), model.set("embedding_length", kHidden);
  model.set("feed_forward_length", kFfn), model.set("block_count", kForeignBlocks);
  model.set("attention.head_count", kHeads), model.set("attention.head_count_kv", kHeads);
  model.set("attention.layer_norm_rms_epsilon", 1e-6f), model.set("rope.dimension_count", 32u);
  model.set("expert_count", kExperts), model.set("expert_used_count", 2u);
  model.linear("token_embd", kForeignVocabulary, kHidden, kGgufF16);
  model.linear("output", kForeignVocabulary, kHidden, kGgufQ8);
  model.vector("output_norm.weight", kHidden, 1);
  for (std::uint32_t i = 0; i < kForeignBlocks; ++i) {
    const std::string block = "blk." + std::to_string(i) + ".";
    model.vector(block + "attn_norm.weight", kHidden, 1), model.vector(block + "ffn_norm.weight", kHidden, 1);
    for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_output"})
      model.linear(block + name, kHidden, kHidden, kGgufF16);
    model.linear(block + "ffn_gate_inp", kExperts, kHidden, kGgufF32);
    const auto experts = [&](const char* name, std::uint64_t n, std::uint64_t k) {
      model.linear(block + name, kExperts * n, k, kGgufQ8);
      model.gguf.tensors.back().shape = {kExperts, n, k};
    };
    experts("ffn_gate_exps", kFfn, kHidden), experts("ffn_up_exps", kFfn, kHidden);
    experts("ffn_down_exps", kHidden, kFfn);
  }
  return model.gguf;
}
inline constexpr std::size_t kMixtureLinears = 2 + 4 * kForeignBlocks;

}  // namespace dgq::test
