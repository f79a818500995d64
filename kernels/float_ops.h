// kernels/float_ops.h - what a decoder computes in float between its linears.
//
// Element by element with mul and add (no fma), so that the width of vectors does not show. The one kind of sum is
// 16 lanes, lane l taking the indices l mod 16 in ascending order from 0, then lane[l] += lane[l + 8], + 4, + 2, + 1.
#pragma once

#include <cstddef>

#include "kernels/cpu.h"

namespace dgq {

// All pure and thread-safe for disjoint outputs; n may be 0 unless said otherwise; pointers need no alignment.
struct FloatOps {
  // out[i] = (x[i] * (1 / sqrt(sum of x^2 / n + eps))) * weight[i]. out may be x. n > 0.
  void (*rms_norm)(const float* x, const float* weight, std::size_t n, float eps, float* out) noexcept;

  // gate[i] = gate[i] / (1 + e^-gate[i]) * up[i]
  void (*swiglu)(float* gate, const float* up, std::size_t n) noexcept;

  // x[i] = e^((x[i] - max x) * unit); returns their sum. n > 0, unit > 0.
  float (*softmax)(float* x, std::size_t n, float unit) noexcept;

  // RoPE as Hugging Face's rotate_half: element i pairs with i + head_dim / 2. cosine, sine: [head_dim / 2].
  void (*rotate)(float* x, const float* cosine, const float* sine, std::size_t head_dim) noexcept;
  // The same of neighbours: elements 2 * i and 2 * i + 1 are a pair.
  void (*rotate_pairs)(float* x, const float* cosine, const float* sine, std::size_t head_dim) noexcept;
  // From the first order to the second: out[2 * i] = x[i], out[2 * i + 1] = x[i + head_dim / 2].
  void (*pair_halves)(const float* x, std::size_t head_dim, float* out) noexcept;

  void (*add)(float* y, const float* x, std::size_t n) noexcept;                    // y[i] += x[i]
  void (*multiply)(float* y, const float* x, std::size_t n) noexcept;               // y[i] *= x[i]
  void (*scale)(const float* x, float factor, std::size_t n, float* out) noexcept;  // out[i] = x[i] * factor
};

struct FloatOpsKernel {
  const char* isa;
  Features needs;
  const FloatOps* run;
};

}  // namespace dgq
