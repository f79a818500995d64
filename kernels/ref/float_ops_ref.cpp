#include <algorithm>
#include <cmath>

#include "kernels/exp_f32.h"
#include "kernels/ref/ref.h"

namespace dgq {
namespace {

constexpr std::size_t kLanes = 16;

float exponential(float x) { return exp_f32_of<float, std::int32_t>(x); }

template <class Map>
float sum(const float* x, std::size_t n, Map map) {
  float lane[kLanes] = {};
  for (std::size_t i = 0; i < n; ++i) lane[i % kLanes] += map(x[i]);
  for (std::size_t width = kLanes / 2; width > 0; width /= 2)
    for (std::size_t l = 0; l < width; ++l) lane[l] += lane[l + width];
  return lane[0];
}

void rms_norm(const float* x, const float* weight, std::size_t n, float eps, float* out) noexcept {
  const float squares = sum(x, n, [](float v) { return v * v; });
  const float inverse = 1.0f / std::sqrt(squares / static_cast<float>(n) + eps);
  for (std::size_t i = 0; i < n; ++i) out[i] = x[i] * inverse * weight[i];
}

void swiglu(float* gate, const float* up, std::size_t n) noexcept {
  for (std::size_t i = 0; i < n; ++i) gate[i] = gate[i] / (1.0f + exponential(-gate[i])) * up[i];
}

float softmax(float* x, std::size_t n, float unit) noexcept {
  const float highest = *std::max_element(x, x + n);
  for (std::size_t i = 0; i < n; ++i) x[i] = exponential((x[i] - highest) * unit);
  return sum(x, n, [](float v) { return v; });
}

void rotate(float* x, const float* cosine, const float* sine, std::size_t head_dim) noexcept {
  const std::size_t half = head_dim / 2;
  for (std::size_t i = 0; i < half; ++i) {
    const float low = x[i], high = x[i + half];
    x[i] = low * cosine[i] - high * sine[i];
    x[i + half] = high * cosine[i] + low * sine[i];
  }
}

void rotate_pairs(float* x, const float* cosine, const float* sine, std::size_t head_dim) noexcept {
  for (std::size_t i = 0; i < head_dim / 2; ++i) {
    const float low = x[2 * i], high = x[2 * i + 1];
    x[2 * i] = low * cosine[i] - high * sine[i];
    x[2 * i + 1] = high * cosine[i] + low * sine[i];
  }
}

void pair_halves(const float* x, std::size_t head_dim, float* out) noexcept {
  for (std::size_t i = 0; i < head_dim / 2; ++i) out[2 * i] = x[i], out[2 * i + 1] = x[i + head_dim / 2];
}

void add(float* y, const float* x, std::size_t n) noexcept {
  for (std::size_t i = 0; i < n; ++i) y[i] += x[i];
}
void multiply(float* y, const float* x, std::size_t n) noexcept {
  for (std::size_t i = 0; i < n; ++i) y[i] *= x[i];
}
void scale(const float* x, float factor, std::size_t n, float* out) noexcept {
  for (std::size_t i = 0; i < n; ++i) out[i] = x[i] * factor;
}

}  // namespace

constinit const FloatOps float_ops_ref = {rms_norm,    swiglu, softmax,  rotate, rotate_pairs,
                                          pair_halves, add,    multiply, scale};

}  // namespace dgq
