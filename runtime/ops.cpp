#include "runtime/ops.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "runtime/math.h"

namespace dgq {
namespace {

// Four floats in a register: every baseline (SSE2, NEON) has these. Wider types of the compilers go through
// memory.
using F4 = float __attribute__((vector_size(16)));

F4 load(const float* p) {
  F4 v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

void store(float* p, F4 v) { std::memcpy(p, &v, sizeof v); }

struct Lanes {
  F4 lane[4] = {};  // lane l is lane[l / 4][l % 4]

  void add(const float* x) {
    for (std::size_t i = 0; i < 4; ++i) lane[i] += load(x + 4 * i);
  }
  void add_product(const float* a, const float* b) {
    for (std::size_t i = 0; i < 4; ++i) lane[i] += load(a + 4 * i) * load(b + 4 * i);
  }
  float sum() const {
    const F4 four = (lane[0] + lane[2]) + (lane[1] + lane[3]);
    return (four[0] + four[2]) + (four[1] + four[3]);
  }
};

constexpr std::size_t kLanes = 16;

// The last n < 16 elements, then zeros: adding 0 leaves a lane as it is (it is never -0, since it starts at
// +0).
struct Tail {
  float x[kLanes] = {};
  Tail(const float* from, std::size_t n) { std::memcpy(x, from, n * sizeof(float)); }
};

float sum(const float* x, std::size_t n) {
  Lanes lanes;
  const std::size_t whole = n / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) lanes.add(x + i);
  if (whole < n) lanes.add(Tail(x + whole, n - whole).x);
  return lanes.sum();
}

F4 absolute(F4 v) { return v < 0 ? -v : v; }
F4 as_is(F4 v) { return v; }

// Largest of map(x[i]); n > 0. The order does not change a maximum.
template <F4 (*map)(F4)>
float maximum(const float* x, std::size_t n) {
  const F4 first = map(F4{x[0], x[0], x[0], x[0]});
  F4 best[2] = {first, first};
  std::size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (std::size_t part = 0; part < 2; ++part) {
      const F4 v = map(load(x + i + 4 * part));
      best[part] = best[part] < v ? v : best[part];
    }
  }
  for (; i < n; ++i) {
    const F4 v = map(F4{x[i], x[i], x[i], x[i]});
    best[0] = best[0] < v ? v : best[0];
  }
  best[0] = best[0] < best[1] ? best[1] : best[0];
  float highest = best[0][0];
  for (std::size_t l = 1; l < 4; ++l) highest = highest < best[0][l] ? best[0][l] : highest;
  return highest;
}

}  // namespace

float dot(const float* a, const float* b, std::size_t n) {
  Lanes lanes;
  const std::size_t whole = n / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) lanes.add_product(a + i, b + i);
  if (whole < n) lanes.add_product(Tail(a + whole, n - whole).x, Tail(b + whole, n - whole).x);
  return lanes.sum();
}

void add(float* y, const float* x, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) y[i] += x[i];
}

void rms_norm(const float* x, const float* weight, std::size_t n, float eps, float* out) {
  const float inverse =
      1.0f / std::sqrt(dot(x, x, n) / static_cast<float>(n) + eps);  // sqrt and / round correctly
  for (std::size_t i = 0; i < n; ++i) out[i] = x[i] * inverse * weight[i];
}

void swiglu(float* gate, const float* up, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) gate[i] = gate[i] / (1.0f + exp_f32(-gate[i])) * up[i];
}

float softmax_numerators(float* x, std::size_t n) {
  const float highest = maximum<as_is>(x, n);
  for (std::size_t i = 0; i < n; ++i) x[i] = exp_f32(x[i] - highest);
  return sum(x, n);
}

void rotate(float* x, const float* cosine, const float* sine, std::size_t head_dim) {
  const std::size_t half = head_dim / 2;
  for (std::size_t i = 0; i < half; ++i) {
    const float low = x[i], high = x[i + half];
    x[i] = low * cosine[i] - high * sine[i];
    x[i + half] = high * cosine[i] + low * sine[i];
  }
}

void add_weighted_rows(const float* weight, const float* rows, std::size_t count, std::size_t n, float* out) {
  std::size_t d = 0;
  for (; d + kLanes <= n; d += kLanes) {  // 16 columns stay in registers over all rows
    F4 sums[4] = {load(out + d), load(out + d + 4), load(out + d + 8), load(out + d + 12)};
    for (std::size_t t = 0; t < count; ++t) {
      const F4 w = {weight[t], weight[t], weight[t], weight[t]};
      for (std::size_t i = 0; i < 4; ++i) sums[i] += w * load(rows + t * n + d + 4 * i);
    }
    for (std::size_t i = 0; i < 4; ++i) store(out + d + 4 * i, sums[i]);
  }
  for (; d < n; ++d)
    for (std::size_t t = 0; t < count; ++t) out[d] += weight[t] * rows[t * n + d];
}

float quantize_s8(const float* x, std::size_t n, std::int8_t* q) {
  const float highest = maximum<absolute>(x, n);
  if (highest == 0) {
    std::memset(q, 0, n);
    return 0;
  }
  constexpr float kRound = 0x1.8p+23f;  // leaves the nearest integer (ties to even) in the low bits
  const float inverse = 127.0f / highest;
  for (std::size_t i = 0; i < n; ++i)
    q[i] = static_cast<std::int8_t>(std::bit_cast<std::uint32_t>(x[i] * inverse + kRound) & 0xff);
  return highest / 127.0f;
}

void to_float(const std::int8_t* x, std::size_t n, float* out) {
  for (std::size_t i = 0; i < n; ++i) out[i] = x[i];
}

}  // namespace dgq
