#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/exp_f32.h"
#include "kernels/float16.h"
#include "kernels/ref/ref.h"

namespace dgq {
namespace {

constexpr std::size_t kLanes = 16;

float exponential(float x) { return exp_f32_of<float, std::int32_t>(x); }

// What a score's distance from the highest is taken from: 0 where all are -infinity, so that their weights are 0 and no NaN.
float base_of(float highest) { return highest == -std::numeric_limits<float>::infinity() ? 0 : highest; }

float tree(float (&lane)[kLanes]) {
  for (std::size_t width = kLanes / 2; width > 0; width /= 2)
    for (std::size_t l = 0; l < width; ++l) lane[l] += lane[l + width];
  return lane[0];
}

void run(const AttentionBlock& b, const AttentionState& state) noexcept {
  for (std::size_t r = 0; r < b.rows; ++r) {
    float s[kAttentionBlock], highest = -std::numeric_limits<float>::infinity();
    for (std::size_t p = 0; p < b.positions; ++p) {
      float lane[kLanes] = {};
      for (std::size_t i = 0; i < b.key_dim; ++i)
        lane[i % kLanes] =
            std::fma(b.q[r * b.key_dim + i], f16_to_f32(b.k[p * b.k_stride + i]), lane[i % kLanes]);
      s[p] = tree(lane);
      if (b.mask) s[p] += f16_to_f32(b.mask[r / b.group * b.mask_stride + p]);
      highest = std::max(highest, s[p]);
    }
    const float base = base_of(highest);
    float lane[kLanes] = {};
    for (std::size_t p = 0; p < b.positions; ++p) {
      s[p] = exponential(s[p] - base);
      lane[p % kLanes] += s[p];
    }
    state.max[r] = highest;
    state.sum[r] = tree(lane);
    for (std::size_t j = 0; j < b.value_dim; ++j) {
      float sum = 0;
      for (std::size_t p = 0; p < b.positions; ++p)
        sum = std::fma(s[p], f16_to_f32(b.v[p * b.v_stride + j]), sum);
      state.out[r * b.value_dim + j] = sum;
    }
  }
}

void join(const AttentionState& a, const AttentionState& b, std::size_t rows,
          std::size_t value_dim) noexcept {
  for (std::size_t r = 0; r < rows; ++r) {
    const float highest = std::max(a.max[r], b.max[r]);
    const float base = base_of(highest), of_a = exponential(a.max[r] - base),
                of_b = exponential(b.max[r] - base);
    a.max[r] = highest;
    a.sum[r] = a.sum[r] * of_a + b.sum[r] * of_b;
    for (std::size_t i = r * value_dim; i < (r + 1) * value_dim; ++i)
      a.out[i] = a.out[i] * of_a + b.out[i] * of_b;
  }
}

void to_f16(const float* x, std::size_t n, std::uint16_t* out) noexcept {
  std::transform(x, x + n, out, f32_to_f16);
}

}  // namespace

constinit const AttentionF16 attention_f16_ref = {run, join, to_f16};

}  // namespace dgq
