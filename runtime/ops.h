// runtime/ops.h - the float work between the linears, one row at a time, in baseline instructions only.
//
// Same bits everywhere: a reduction is 16 lanes, lane l takes the indices l mod 16 in ascending order with
// plain mul and add (no fma), then lane[l] += lane[l + 8], + 4, + 2, + 1. Whatever is not a reduction works
// element by element.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dgq {

// sum of a[i] * b[i]; 0 when n is 0.
float dot(const float* a, const float* b, std::size_t n);

// y[i] += x[i]
void add(float* y, const float* x, std::size_t n);

// out[i] = (x[i] / sqrt(mean(x^2) + eps)) * weight[i]. out may be x.
void rms_norm(const float* x, const float* weight, std::size_t n, float eps, float* out);

// gate[i] = gate[i] / (1 + e^-gate[i]) * up[i]
void swiglu(float* gate, const float* up, std::size_t n);

// x[i] = e^(x[i] - max x); returns their sum. n > 0.
float softmax_numerators(float* x, std::size_t n);

// RoPE as Hugging Face's rotate_half: element i pairs with i + head_dim / 2. cosine, sine: [head_dim / 2].
void rotate(float* x, const float* cosine, const float* sine, std::size_t head_dim);

// out[d] += sum over t ascending of weight[t] * rows[t][d]; rows: [count][n].
void add_weighted_rows(const float* weight, const float* rows, std::size_t count, std::size_t n, float* out);

// q[i] = round_half_even(x[i] * (127 / max|x|)); returns the scale max|x| / 127, 0 when all are 0.
float quantize_s8(const float* x, std::size_t n, std::int8_t* q);

void to_float(const std::int8_t* x, std::size_t n, float* out);

}  // namespace dgq
