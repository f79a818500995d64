#include "runtime/ops.h"

#include <cstring>

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

}  // namespace

float dot(const float* a, const float* b, std::size_t n) {
  Lanes lanes;
  const std::size_t whole = n / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) lanes.add_product(a + i, b + i);
  if (whole < n) lanes.add_product(Tail(a + whole, n - whole).x, Tail(b + whole, n - whole).x);
  return lanes.sum();
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

}  // namespace dgq
