#include "quantizer/smooth.h"

#include <algorithm>
#include <cmath>

#include "runtime/decoder.h"

namespace dgq {
namespace {

// The layer's own floats behind a view into it.
float* mutable_part(LayerF32& layer, const float* part) {
  for (std::vector<float>& tensor : layer.storage)
    if (tensor.data() == part) return tensor.data();
  return nullptr;
}

void scale_columns(LayerF32& layer, const Linear& linear, const std::vector<float>& factors) {
  const auto& w = std::get<F32Matrix>(linear);
  float* weights = mutable_part(layer, w.w);
  for (std::size_t i = 0; i < w.n * w.k; ++i) weights[i] *= factors[i % w.k];
}

// Bias and all: the output is what shrinks.
void divide_rows(LayerF32& layer, const Linear& linear, const std::vector<float>& factors) {
  const auto& w = std::get<F32Matrix>(linear);
  float* weights = mutable_part(layer, w.w);
  for (std::size_t i = 0; i < w.n * w.k; ++i) weights[i] /= factors[i / w.k];
  if (!w.bias) return;
  float* bias = mutable_part(layer, w.bias);
  for (std::size_t i = 0; i < w.n; ++i) bias[i] /= factors[i];
}

void divide_norm(LayerF32& layer, const float* norm, const std::vector<float>& factors) {
  float* weights = mutable_part(layer, norm);
  for (std::size_t i = 0; i < factors.size(); ++i) weights[i] /= factors[i];
}

// For the inputs of o: from channels of v to those of all heads that read them, and back.
std::size_t row_of_v(const ModelConfig& config, std::size_t channel) {
  const std::size_t head = channel / config.head_dim, group = config.heads / config.kv_heads;
  return head / group * config.head_dim + channel % config.head_dim;
}

struct Maxima {
  std::vector<float> q, o, gate, down;

  void see(std::vector<float>& maxima, const float* x, std::size_t m, std::size_t k) {
    maxima.resize(k);
    for (std::size_t i = 0; i < m * k; ++i) maxima[i % k] = std::max(maxima[i % k], std::fabs(x[i]));
  }

  LayerFactors factors(const ModelConfig& config, double percentile) const {
    std::vector<float> of_v(config.kv_heads * config.head_dim);
    for (std::size_t c = 0; c < o.size(); ++c) {
      float& largest = of_v[row_of_v(config, c)];
      largest = std::max(largest, o[c]);
    }
    return {factors_of(q, percentile), factors_of(gate, percentile), factors_of(of_v, percentile),
            factors_of(down, percentile)};
  }
};

}  // namespace

std::vector<float> factors_of(const std::vector<float>& maxima, double percentile) {
  std::vector<float> sorted = maxima, factors(maxima.size(), 1.0f);
  std::sort(sorted.begin(), sorted.end());
  const float threshold =
      sorted[static_cast<std::size_t>(percentile / 100 * static_cast<double>(sorted.size() - 1))];
  if (threshold > 0)
    for (std::size_t c = 0; c < maxima.size(); ++c) factors[c] = std::max(1.0f, maxima[c] / threshold);
  return factors;
}

Result<std::vector<LayerFactors>> measure_factors(const Checkpoint& checkpoint, const LayerReader& read_layer,
                                                  const Kernels& kernels,
                                                  const std::vector<Sequence>& sequences, double percentile,
                                                  int threads, const Fraction& progress) {
  ModelConfig config = checkpoint.config();
  const std::size_t layers = config.layers;
  config.layers = 1;
  DGQ_TRY(const std::vector<float> table, checkpoint.embedding());
  const F32Matrix embedding{config.vocab, config.hidden, table.data(), nullptr};
  Decoder decoder(config, kernels, threads);
  std::vector<std::vector<float>> hidden;
  std::size_t longest = 1;
  for (const Sequence& sequence : sequences) {
    hidden.emplace_back(sequence.size() * config.hidden);
    decoder.embed(embedding, sequence, hidden.back().data());
    longest = std::max(longest, sequence.size());
  }
  KvCache cache(config, longest, KvType::f32);
  std::vector<LayerFactors> factors;
  for (std::size_t i = 0; i < layers; ++i) {
    DGQ_TRY(const LayerF32 layer, read_layer(i));
    Maxima maxima;
    const Tap tap = [&](TapPoint point, const float* x, std::size_t m, std::size_t k) {
      maxima.see(point == TapPoint::q      ? maxima.q
                 : point == TapPoint::o    ? maxima.o
                 : point == TapPoint::gate ? maxima.gate
                                           : maxima.down,
                 x, m, k);
      return true;
    };
    std::vector<Row> rows;
    for (std::vector<float>& sequence : hidden) {
      rows.resize(sequence.size() / config.hidden);
      for (std::size_t t = 0; t < rows.size(); ++t) rows[t] = {&cache, t};
      decoder.run_layer(0, layer.weights, rows, sequence.data(), &tap);
    }
    factors.push_back(maxima.factors(config, percentile));
    if (progress) progress(static_cast<double>(i + 1) / static_cast<double>(layers));
  }
  return factors;
}

void apply(const LayerFactors& factors, const ModelConfig& config, LayerF32& layer) {
  const LayerWeights& w = layer.weights;
  divide_norm(layer, w.input_norm, factors.q);
  for (const Linear* linear : {&w.q, &w.k, &w.v}) scale_columns(layer, *linear, factors.q);
  std::vector<float> of_o(config.heads * config.head_dim);
  for (std::size_t c = 0; c < of_o.size(); ++c) of_o[c] = factors.o[row_of_v(config, c)];
  divide_rows(layer, w.v, factors.o);
  scale_columns(layer, w.o, of_o);
  divide_norm(layer, w.post_attention_norm, factors.gate);
  for (const Linear* linear : {&w.gate, &w.up}) scale_columns(layer, *linear, factors.gate);
  divide_rows(layer, w.up, factors.down);
  scale_columns(layer, w.down, factors.down);
}

}  // namespace dgq
