// tests/runtime/synthetic.h - a small model with odd sizes and random weights, quantized or fp32, made in memory.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "kernels/packed.h"
#include "runtime/config.h"
#include "runtime/weights.h"

namespace dgq::test {

// Nothing is a multiple of a tile: hidden 72, ffn 200, head dimension 10, vocabulary 301.
inline ModelConfig small_config() {
  ModelConfig config{};
  config.hidden = 72;
  config.ffn = 200;
  config.layers = 2;
  config.heads = 6;
  config.kv_heads = 2;
  config.head_dim = 10;
  config.vocab = 301;
  config.max_positions = 512;
  config.rms_eps = 1e-5;
  config.rope_theta = 10000;
  config.tied_head = true;
  return config;
}

inline std::vector<float> random_floats(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 1);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

class SyntheticModel {
 public:
  SyntheticModel(const ModelConfig& config, bool quantized, unsigned seed = 7)
      : config(config), quantized_(quantized), random_(seed) {
    const std::size_t h = config.hidden, q = config.heads * config.head_dim,
                      kv = config.kv_heads * config.head_dim;
    weights.embedding = quantized ? w8(config.vocab, h) : f32(config.vocab, h);
    weights.head = weights.embedding;
    weights.final_norm = norm(h);
    for (std::size_t layer = 0; layer < config.layers; ++layer) {
      // One group size each, W6 beside W4, and one coarse matrix between fine ones.
      const bool qkv = config.qkv_bias, o = config.o_bias, mlp = config.mlp_bias;
      weights.layers.push_back(
          {norm(h), linear<4>(q, h, 32, qkv), linear<6>(kv, h, 64, qkv), linear<6>(kv, h, 128, qkv),
           linear<4>(h, q, 32, o), norm(h), linear<4>(config.ffn, h, 64, mlp),
           linear<6>(config.ffn, h, 32, mlp),
           quantized && layer == 0 ? w8(h, config.ffn) : linear<6>(h, config.ffn, 128, mlp),
           config.qk_norm ? norm(config.head_dim) : nullptr,
           config.qk_norm ? norm(config.head_dim) : nullptr});
    }
  }

  ModelConfig config;
  ModelWeights weights;

 private:
  struct Aligned {
    alignas(64) std::byte bytes[64];
  };

  // The same on every machine, unlike std's distributions: a sum of 12 draws is nearly normal.
  float real(float scale) {
    int sum = 0;
    for (int i = 0; i < 12; ++i) sum += integer(0, 65535);
    return scale * (static_cast<float>(sum) / 65536.0f - 6.0f);
  }
  int integer(int low, int high) {
    return low + static_cast<int>(random_() % static_cast<unsigned>(high - low + 1));
  }

  std::vector<float> reals(std::size_t count, float mean, float scale) {
    std::vector<float> values(count);
    for (float& value : values) value = mean + real(scale);
    return values;
  }
  const float* norm(std::size_t n) { return keep(reals(n, 1, 0.1f)); }
  const float* keep(std::vector<float> values) { return floats_.emplace_back(std::move(values)).data(); }
  std::byte* section(std::size_t bytes) {
    sections_.push_back(std::make_unique<Aligned[]>((bytes + 63) / 64));
    return sections_.back()[0].bytes;
  }

  // A quantized one has a bias in any case.
  template <int kBits>
  Linear linear(std::size_t n, std::size_t k, std::size_t group, bool bias) {
    return quantized_ ? fine<kBits>(n, k, group) : f32(n, k, bias);
  }
  Linear f32(std::size_t n, std::size_t k, bool bias = false) {
    const float* w = keep(reals(n * k, 0, 0.15f));
    return F32Matrix{n, k, w, bias ? keep(reals(n, 0, 0.3f)) : nullptr};
  }

  template <int kBits>
  Linear fine(std::size_t n, std::size_t k, std::size_t group) {
    const std::size_t groups = round_up(k, group) / group;
    std::vector<std::uint8_t> q(n * k), s2(n * groups);
    std::vector<std::int8_t> o(n * groups);
    constexpr int kLargest = FineMatrix<kBits>::kLargestQ, kScale = kBits == 4 ? 15 : 3;
    for (auto& value : q) value = static_cast<std::uint8_t>(integer(0, kLargest));
    for (std::size_t i = 0; i < n * groups; ++i) {  // w8 from -112 to 120 (W4), from -100 to 96 (W6)
      s2[i] = static_cast<std::uint8_t>(integer(1, kScale));
      o[i] = static_cast<std::int8_t>(-(kLargest / 2) * s2[i] - integer(0, 7));
    }
    const std::vector<float> s1(n, 0.0025f), bias = reals(n, 0, 0.1f);
    std::byte* at = section(packed_fine_bytes<kBits>(n, k, group, true));
    pack_fine<kBits>({q.data(), s2.data(), o.data(), s1.data(), bias.data()}, n, k, group, at);
    return bind_fine<kBits>(at, n, k, group, true);
  }

  Linear w8(std::size_t n, std::size_t k) {
    std::vector<std::int8_t> q(n * k);
    for (auto& value : q) value = static_cast<std::int8_t>(integer(-127, 127));
    const std::vector<float> s1(n, 0.002f);
    std::byte* at = section(packed_w8_bytes(n, k, false));
    pack_w8({q.data(), s1.data(), nullptr}, n, k, at);
    return bind_w8(at, n, k, false);
  }

  bool quantized_;
  std::mt19937 random_;
  std::vector<std::vector<float>> floats_;
  std::vector<std::unique_ptr<Aligned[]>> sections_;
};

}  // namespace dgq::test
