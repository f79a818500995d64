// quantizer/fine_linear.h - a linear layer on the two-level grid of Dual Grained Quantization (arXiv 2310.04836), as the
// passes hand it on.
//
//   w_hat[n][k] = s1[n] * (s2[n][g] * q[n][k] + o[n][g])     g = k / group, as kernels/packed.h
//   error of row n = d H d^T,  d = w[n] - w_hat[n],  H = X^T X of the layer's inputs X on calibration text
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/gemm_f32.h"

namespace dgq {

// Which grid: q is 0..top.
struct FineFormat {
  std::size_t group;  // 32, 64 or 128; 0 with 8 bits
  int bits;           // 4 or 6; 8 stands for W8, which has no grid
  constexpr int top() const { return (1 << bits) - 1; }
  // The whole grid o..o + top * s2 stays within -127..127, so that any q is valid.
  constexpr int largest_s2() const { return 254 / top(); }
  std::size_t groups(std::size_t k) const { return (k + group - 1) / group; }
};

struct FineLinear {
  std::vector<std::uint8_t> q;   // [n][k], 0..top
  std::vector<std::uint8_t> s2;  // [n][groups], 1..largest_s2
  std::vector<std::int8_t> o;    // [n][groups]
  std::vector<float> s1;         // [n]; 0 for an all-zero row
};

inline constexpr float kInt8Limit = 127;  // |w8|

// Round half to even for |x| < 2^22: adding 1.5 * 2^23 leaves no fraction bits. SSE2 has no rounding instruction, and a
// call of rint() per weight would cost more than the search.
inline float round_even(float x) {
  constexpr float kMagic = 12582912.0f;
  return (x + kMagic) - kMagic;
}
inline float clamp_to(float x, float low, float high) { return std::min(std::max(x, low), high); }
inline float reciprocal(float x) { return x > 0 ? 1 / x : 0; }

// max |w| / 127: the coarse scale with which the row just fits. Rows too small for float reciprocals count as zero.
float int8_unit(const float* w, std::size_t n);

// The grid of one group in units of s1, in float for the searches' arithmetic.
struct IntegerGrid {
  float s2, o;
};

// sum over rows of w H w^T, in double: what there is to lose. h: [k][k], or empty: the identity, so that weights themselves count. Of many rows an estimate (quantizer/quadratic_form.h).
double output_energy(const GemmF32Kernel& gemm, const F32Matrix& w, std::span<const float> h, int threads);
// sum over rows of d H d^T: what is lost. Both have the same bits for any kernel and number of threads.
double output_loss(const GemmF32Kernel& gemm, const F32Matrix& w, std::span<const float> h,
                   const FineFormat& format, const FineLinear& linear, int threads);

// Share of the weights at the lowest or highest level of their grid that lie more than half a step beyond it: further than
// rounding alone would have moved them.
double clipped_share(const F32Matrix& w, const FineFormat& format, const FineLinear& linear, int threads);

}  // namespace dgq
