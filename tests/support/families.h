// tests/support/families.h - tiny checkpoints of every supported family: TinyCheckpoint with the options that differ.
#pragma once

#include "tests/support/tiny_checkpoint.h"

namespace dgq::test {

inline void add_floats(TinyCheckpoint& tiny, const std::string& name, std::uint64_t n, float mean,
                       std::uint64_t seed) {
  std::vector<float> values = random_floats(n, 0.2f, seed);
  for (float& value : values) value += mean;
  tiny.tensors[name] = f32_tensor({n}, values);
}

template <class Add>
void for_each_tiny_layer(const Add& add) {
  for (std::uint64_t layer : {0, 1}) add("model.layers." + std::to_string(layer) + ".", 100 * (layer + 1));
}

// Biases on q, k and v, and nowhere else.
inline TinyCheckpoint tiny_qwen2() {
  TinyCheckpoint tiny = tiny_checkpoint(7);
  tiny.config["architectures"] = {"Qwen2ForCausalLM"};
  tiny.config.erase("attention_bias");
  for_each_tiny_layer([&](const std::string& prefix, std::uint64_t seed) {
    add_floats(tiny, prefix + "self_attn.q_proj.bias", 64, 0, seed);
    add_floats(tiny, prefix + "self_attn.k_proj.bias", 32, 0, seed + 1);
    add_floats(tiny, prefix + "self_attn.v_proj.bias", 32, 0, seed + 2);
  });
  return tiny;
}

// Norms on the heads of q and k; an untied head.
inline TinyCheckpoint tiny_qwen3() {
  TinyCheckpoint tiny = tiny_checkpoint(8);
  tiny.config["architectures"] = {"Qwen3ForCausalLM"};
  tiny.config["tie_word_embeddings"] = false;
  tiny.tensors["lm_head.weight"] = f32_tensor({260, 64}, random_floats(260 * 64, 0.1f, 9));
  for_each_tiny_layer([&](const std::string& prefix, std::uint64_t seed) {
    add_floats(tiny, prefix + "self_attn.q_norm.weight", 16, 1, seed);
    add_floats(tiny, prefix + "self_attn.k_norm.weight", 16, 1, seed + 1);
  });
  return tiny;
}

// Every linear has a bias; the widest range of what llama's rows are turned for.
inline TinyCheckpoint tiny_llama_with_biases() {
  TinyCheckpoint tiny = tiny_qwen2();
  tiny.config["architectures"] = {"LlamaForCausalLM"};
  tiny.config["attention_bias"] = true;
  for_each_tiny_layer([&](const std::string& prefix, std::uint64_t seed) {
    add_floats(tiny, prefix + "self_attn.o_proj.bias", 64, 0, seed + 3);
  });
  return tiny;
}

}  // namespace dgq::test
