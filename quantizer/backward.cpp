#include "quantizer/backward.h"

#include <algorithm>
#include <cmath>

#include "runtime/math.h"
#include "runtime/ops.h"
#include "runtime/parallel.h"

namespace dgq {
namespace {

void add(std::vector<float>& y, const std::vector<float>& x) {
  for (std::size_t i = 0; i < y.size(); ++i) y[i] += x[i];
}

float sigmoid(float x) { return 1 / (1 + exp_f32(-x)); }

// Columns [first, first + width) of rows of `stride` floats, as rows of their own.
std::vector<float> columns(const std::vector<float>& x, std::size_t stride, std::size_t first,
                           std::size_t width) {
  std::vector<float> out(x.size() / stride * width);
  for (std::size_t i = 0; i < x.size() / stride; ++i)
    std::copy_n(x.data() + i * stride + first, width, out.data() + i * width);
  return out;
}

// Rows of positions [m][m] that each see themselves and what came before: softmax of x * unit, 0 beyond.
void causal_softmax(const FloatOps& ops, std::vector<float>& x, std::size_t m, float unit) {
  for (std::size_t i = 0; i < m; ++i) {
    float* row = x.data() + i * m;
    const float sum = ops.softmax(row, i + 1, unit);
    ops.scale(row, 1 / sum, i + 1, row);
    std::fill(row + i + 1, row + m, 0.0f);
  }
}

}  // namespace

std::vector<float> multiply(const GemmF32Kernel& gemm, const F32Matrix& w, const std::vector<float>& x,
                            int threads) {
  constexpr std::size_t kRows = 16;
  const std::size_t m = x.size() / w.k;
  std::vector<float> y(m * w.n);
  parallel_ranges(threads, (w.n + kRows - 1) / kRows, [&](std::size_t begin, std::size_t end, int) {
    const std::size_t first = begin * kRows, last = std::min(end * kRows, w.n);
    gemm.run({last - first, w.k, w.w + first * w.k, w.bias ? w.bias + first : nullptr}, x.data(), w.k, m, 0,
             last - first, y.data() + first, w.n);
  });
  return y;
}

std::vector<float> transpose(const F32Matrix& w, int threads) {
  std::vector<float> out(w.n * w.k);
  parallel_ranges(threads, w.k, [&](std::size_t begin, std::size_t end, int) {
    for (std::size_t j = begin; j < end; ++j)
      for (std::size_t i = 0; i < w.n; ++i) out[j * w.n + i] = w.w[i * w.k + j];
  });
  return out;
}

void rms_norm_backward(const float* x, const float* weight, const float* gradient, std::size_t width,
                       double eps, float* sum) {
  double square = 0, along = 0;
  for (std::size_t i = 0; i < width; ++i) {
    square += static_cast<double>(x[i]) * x[i];
    along += static_cast<double>(x[i]) * weight[i] * gradient[i];
  }
  const double n = static_cast<double>(width), r = 1 / std::sqrt(square / n + eps);
  const auto direct = static_cast<float>(r), back = static_cast<float>(along * r * r * r / n);
  for (std::size_t i = 0; i < width; ++i) sum[i] += direct * weight[i] * gradient[i] - back * x[i];
}

LayerBackward::LayerBackward(const ModelConfig& config, const Kernels& kernels, int threads,
                             const LayerWeights& weights)
    : config_(config),
      kernels_(kernels),
      threads_(threads),
      rope_(config),
      input_norm_(weights.input_norm),
      middle_norm_(weights.post_attention_norm),
      q_norm_(weights.q_norm),
      k_norm_(weights.k_norm) {
  const auto all = linears_of(weights);
  for (std::size_t i = 0; i < kLinears; ++i) weights_[i] = std::get<F32Matrix>(*all[i]);
}

const F32Matrix& LayerBackward::transposed(LinearId id) {
  const auto i = static_cast<std::size_t>(id);
  if (storage_[i].empty()) {
    storage_[i] = transpose(weights_[i], threads_);
    transposed_[i] = {weights_[i].k, weights_[i].n, storage_[i].data(), nullptr};
  }
  return transposed_[i];
}

std::vector<float> LayerBackward::product(const F32Matrix& w, const std::vector<float>& x) const {
  return multiply(*kernels_.gemm_f32, w, x, threads_);
}

std::vector<float> LayerBackward::norm(const std::vector<float>& x, const float* weight) const {
  const std::size_t width = config_.hidden;
  std::vector<float> out(x.size());
  for (std::size_t i = 0; i < x.size(); i += width)
    kernels_.float_ops->run->rms_norm(x.data() + i, weight, width, static_cast<float>(config_.rms_eps),
                                      out.data() + i);
  return out;
}

void LayerBackward::norm_backward(const std::vector<float>& x, const float* weight,
                                  const std::vector<float>& gradient, std::vector<float>& sum) const {
  for (std::size_t i = 0; i < x.size(); i += config_.hidden)
    rms_norm_backward(x.data() + i, weight, gradient.data() + i, config_.hidden, config_.rms_eps,
                      sum.data() + i);
}

void LayerBackward::norm_heads(const float* weight, std::vector<float>& x, std::vector<float>& plain) const {
  if (!weight) return;
  plain = x;
  for (std::size_t i = 0; i < x.size(); i += config_.head_dim)
    kernels_.float_ops->run->rms_norm(plain.data() + i, weight, config_.head_dim,
                                      static_cast<float>(config_.rms_eps), x.data() + i);
}

void LayerBackward::norm_heads_backward(const float* weight, const std::vector<float>& plain,
                                        std::vector<float>& gradient) const {
  if (!weight) return;
  const std::vector<float> by_norm = std::move(gradient);
  gradient.assign(by_norm.size(), 0);
  for (std::size_t i = 0; i < plain.size(); i += config_.head_dim)
    rms_norm_backward(plain.data() + i, weight, by_norm.data() + i, config_.head_dim, config_.rms_eps,
                      gradient.data() + i);
}

void LayerBackward::rotate(std::vector<float>& x, std::size_t heads, bool back) {
  const std::size_t d = config_.head_dim, m = x.size() / (heads * d);
  rope_.grow(m);
  std::vector<float> sine(d / 2);
  for (std::size_t i = 0; i < m; ++i) {
    for (std::size_t p = 0; p < d / 2; ++p) sine[p] = back ? -rope_.sine(i)[p] : rope_.sine(i)[p];
    for (std::size_t h = 0; h < heads; ++h)
      kernels_.float_ops->run->rotate(x.data() + (i * heads + h) * d, rope_.cosine(i), sine.data(), d);
  }
}

void LayerBackward::attend(LayerTrace& t) const {
  const std::size_t d = config_.head_dim, group = config_.heads / config_.kv_heads,
                    q_width = config_.heads * d;
  const std::size_t m = t.q.size() / q_width;
  const auto unit = static_cast<float>(1 / std::sqrt(static_cast<double>(d)));
  t.mixed.assign(t.q.size(), 0);
  parallel_ranges(threads_, config_.kv_heads, [&](std::size_t begin, std::size_t end, int) {
    std::vector<float> p(m * m);
    for (std::size_t head = begin; head < end; ++head) {
      const std::vector<float> k = columns(t.k, config_.kv_heads * d, head * d, d);
      const std::vector<float> v = columns(t.v, config_.kv_heads * d, head * d, d);
      for (std::size_t h = head * group; h < (head + 1) * group; ++h) {
        kernels_.gemm_f32->run({m, d, k.data(), nullptr}, t.q.data() + h * d, q_width, m, 0, m, p.data(), m);
        causal_softmax(*kernels_.float_ops->run, p, m, unit);
        for (std::size_t i = 0; i < m; ++i)
          add_weighted_rows(p.data() + i * m, v.data(), i + 1, d, t.mixed.data() + i * q_width + h * d);
      }
    }
  });
}

LayerTrace LayerBackward::forward(std::vector<float> input) {
  LayerTrace t;
  t.input = std::move(input);
  t.normed = norm(t.input, input_norm_);
  t.q = product(weight(LinearId::q), t.normed);
  t.k = product(weight(LinearId::k), t.normed);
  t.v = product(weight(LinearId::v), t.normed);
  norm_heads(q_norm_, t.q, t.plain_q);
  norm_heads(k_norm_, t.k, t.plain_k);
  rotate(t.q, config_.heads, false);
  rotate(t.k, config_.kv_heads, false);
  attend(t);
  t.middle = product(weight(LinearId::o), t.mixed);
  add(t.middle, t.input);
  t.normed_middle = norm(t.middle, middle_norm_);
  t.gate = product(weight(LinearId::gate), t.normed_middle);
  t.up = product(weight(LinearId::up), t.normed_middle);
  t.activated = t.gate;
  kernels_.float_ops->run->swiglu(t.activated.data(), t.up.data(), t.up.size());
  t.output = product(weight(LinearId::down), t.activated);
  add(t.output, t.middle);
  return t;
}

LayerBackward::AttentionGradient LayerBackward::attend_backward(const LayerTrace& t,
                                                                const std::vector<float>& gradient) const {
  const std::size_t d = config_.head_dim, group = config_.heads / config_.kv_heads;
  const std::size_t q_width = config_.heads * d, kv_width = config_.kv_heads * d, m = t.q.size() / q_width;
  const auto unit = static_cast<float>(1 / std::sqrt(static_cast<double>(d)));
  AttentionGradient out{std::vector<float>(t.q.size()), std::vector<float>(t.k.size()),
                        std::vector<float>(t.v.size())};
  parallel_ranges(threads_, config_.kv_heads, [&](std::size_t begin, std::size_t end, int) {
    std::vector<float> p(m * m), by_p(m * m);
    for (std::size_t head = begin; head < end; ++head) {
      const std::vector<float> k = columns(t.k, kv_width, head * d, d),
                               v = columns(t.v, kv_width, head * d, d);
      for (std::size_t h = head * group; h < (head + 1) * group; ++h) {
        kernels_.gemm_f32->run({m, d, k.data(), nullptr}, t.q.data() + h * d, q_width, m, 0, m, p.data(), m);
        causal_softmax(*kernels_.float_ops->run, p, m, unit);
        kernels_.gemm_f32->run({m, d, v.data(), nullptr}, gradient.data() + h * d, q_width, m, 0, m,
                               by_p.data(), m);
        for (std::size_t i = 0; i < m; ++i) {
          const float *row = p.data() + i * m, *to = gradient.data() + i * q_width + h * d,
                      *query = t.q.data() + i * q_width + h * d;
          float* by_score = by_p.data() + i * m;
          const float mean = dot(row, by_score, i + 1);
          for (std::size_t j = 0; j <= i; ++j) by_score[j] = unit * row[j] * (by_score[j] - mean);
          add_weighted_rows(by_score, k.data(), i + 1, d, out.q.data() + i * q_width + h * d);
          for (std::size_t j = 0; j <= i; ++j) {
            float *by_key = out.k.data() + j * kv_width + head * d,
                  *by_value = out.v.data() + j * kv_width + head * d;
            for (std::size_t c = 0; c < d; ++c) by_key[c] += by_score[j] * query[c];
            for (std::size_t c = 0; c < d; ++c) by_value[c] += row[j] * to[c];
          }
        }
      }
    }
  });
  return out;
}

void LayerBackward::backward(const LayerTrace& t, std::vector<float>& gradient, const See& see) {
  see(LinearId::down, gradient, t.activated);
  const std::vector<float> by_activated = product(transposed(LinearId::down), gradient);
  std::vector<float> by_gate(t.gate.size()), by_up(t.up.size());
  for (std::size_t i = 0; i < t.gate.size(); ++i) {
    const float s = sigmoid(t.gate[i]);
    by_gate[i] = by_activated[i] * t.up[i] * s * (1 + t.gate[i] * (1 - s));
    by_up[i] = by_activated[i] * t.gate[i] * s;
  }
  see(LinearId::gate, by_gate, t.normed_middle);
  see(LinearId::up, by_up, t.normed_middle);
  std::vector<float> by_normed = product(transposed(LinearId::gate), by_gate);
  add(by_normed, product(transposed(LinearId::up), by_up));
  norm_backward(t.middle, middle_norm_, by_normed, gradient);

  see(LinearId::o, gradient, t.mixed);
  AttentionGradient by = attend_backward(t, product(transposed(LinearId::o), gradient));
  rotate(by.q, config_.heads, true);
  rotate(by.k, config_.kv_heads, true);
  norm_heads_backward(q_norm_, t.plain_q, by.q);
  norm_heads_backward(k_norm_, t.plain_k, by.k);
  see(LinearId::q, by.q, t.normed);
  see(LinearId::k, by.k, t.normed);
  see(LinearId::v, by.v, t.normed);
  by_normed = product(transposed(LinearId::q), by.q);
  add(by_normed, product(transposed(LinearId::k), by.k));
  add(by_normed, product(transposed(LinearId::v), by.v));
  norm_backward(t.input, input_norm_, by_normed, gradient);
}

}  // namespace dgq
