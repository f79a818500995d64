// tests/support/forward_in_double.h - the whole graph once more, in double and in the plainest way, as the papers write it:
// RMSNorm (Zhang and Sennrich 2019), RoPE (Su et al. 2021) by halves, grouped-query attention (Ainslie et al. 2023), SwiGLU
// (Shazeer 2020), and Qwen3's norms on the heads of q and k.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "runtime/config.h"
#include "runtime/weights.h"

namespace dgq::test {

// Logits after the last token. Weights are F32Matrix; no RoPE scaling.
inline std::vector<double> forward_in_double(const ModelConfig& c, const ModelWeights& weights,
                                             const std::vector<std::int32_t>& tokens) {
  const auto linear = [](const Linear& w, const std::vector<double>& x) {
    const auto& f = std::get<F32Matrix>(w);
    std::vector<double> y(f.n);
    if (f.bias) y.assign(f.bias, f.bias + f.n);
    for (std::size_t i = 0; i < f.n; ++i)
      for (std::size_t j = 0; j < f.k; ++j) y[i] += f.w[i * f.k + j] * x[j];
    return y;
  };
  const auto norm = [&](const std::vector<double>& x, const float* weight) {
    double squares = 0;
    for (const double v : x) squares += v * v;
    std::vector<double> y(x.size());
    for (std::size_t i = 0; i < x.size(); ++i)
      y[i] = x[i] / std::sqrt(squares / static_cast<double>(x.size()) + c.rms_eps) * weight[i];
    return y;
  };
  const auto norm_heads = [&](std::vector<double>& x, const float* weight) {
    for (auto head = x.begin(); weight && head != x.end(); head += static_cast<std::ptrdiff_t>(c.head_dim)) {
      const auto normed = norm({head, head + static_cast<std::ptrdiff_t>(c.head_dim)}, weight);
      std::copy(normed.begin(), normed.end(), head);
    }
  };
  const auto rope = [&](std::vector<double>& x, std::size_t position) {
    for (std::size_t head = 0; head < x.size(); head += c.head_dim)
      for (std::size_t i = 0; i < c.head_dim / 2; ++i) {
        const double angle =
            static_cast<double>(position) *
            std::pow(c.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(c.head_dim));
        double &low = x[head + i], &high = x[head + i + c.head_dim / 2];
        const double a = low, b = high;
        low = a * std::cos(angle) - b * std::sin(angle);
        high = b * std::cos(angle) + a * std::sin(angle);
      }
  };
  std::vector<std::vector<std::vector<double>>> keys(c.layers), values(c.layers);
  std::vector<double> x;
  for (std::size_t position = 0; position < tokens.size(); ++position) {
    const auto& embedding = std::get<F32Matrix>(weights.embedding);
    const float* row = embedding.w + static_cast<std::size_t>(tokens[position]) * c.hidden;
    x.assign(row, row + c.hidden);
    for (std::size_t l = 0; l < c.layers; ++l) {
      const LayerWeights& w = weights.layers[l];
      const auto normed = norm(x, w.input_norm);
      auto q = linear(w.q, normed), k = linear(w.k, normed);
      norm_heads(q, w.q_norm);
      norm_heads(k, w.k_norm);
      rope(q, position);
      rope(k, position);
      keys[l].push_back(k);
      values[l].push_back(linear(w.v, normed));
      std::vector<double> mixed(q.size());
      for (std::size_t h = 0; h < c.heads; ++h) {
        const std::size_t kv = h / (c.heads / c.kv_heads) * c.head_dim;
        double total = 0;
        for (std::size_t t = 0; t <= position; ++t) {
          double score = 0;
          for (std::size_t d = 0; d < c.head_dim; ++d) score += q[h * c.head_dim + d] * keys[l][t][kv + d];
          const double e = std::exp(score / std::sqrt(static_cast<double>(c.head_dim)));
          total += e;
          for (std::size_t d = 0; d < c.head_dim; ++d) mixed[h * c.head_dim + d] += e * values[l][t][kv + d];
        }
        for (std::size_t d = 0; d < c.head_dim; ++d) mixed[h * c.head_dim + d] /= total;
      }
      const auto attention = linear(w.o, mixed);
      for (std::size_t i = 0; i < x.size(); ++i) x[i] += attention[i];
      const auto normed2 = norm(x, w.post_attention_norm);
      auto gate = linear(w.gate, normed2);
      const auto up = linear(w.up, normed2);
      for (std::size_t i = 0; i < gate.size(); ++i) gate[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
      const auto down = linear(w.down, gate);
      for (std::size_t i = 0; i < x.size(); ++i) x[i] += down[i];
    }
  }
  return linear(weights.head, norm(x, weights.final_norm));
}

}  // namespace dgq::test
