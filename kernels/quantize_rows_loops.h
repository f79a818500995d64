// kernels/quantize_rows_loops.h - quantize_rows.h in runs of 32 columns. `Run` brings the vectors:
//
//   Run::Largest                      keeps the bits of the largest |x| seen: take(x) looks at 32 floats,
//                                     bits() is the result
//   Run::quantize(x, inverse, q)      q[j] = round_half_even(x[j] * inverse) for 32 columns; returns their sum
//
// Bits of |x| compare as integers in the order of the floats, with infinities and NaNs above all numbers.
// In an unnamed namespace: each kernel file has its own copy, compiled with its own flags.
#pragma once

#include "kernels/quantize_rows.h"

namespace dgq {
namespace {

// 32 columns of x from `begin` on: in place, or, where the row ends before, copied to `spare` and filled with
// 0.
DGQ_INLINE const float* run_of(const float* x, std::size_t begin, std::size_t k, float* spare) {
  if (begin + kSumGroup <= k) return x + begin;
  for (std::size_t j = 0; j < kSumGroup; ++j) spare[j] = begin + j < k ? x[begin + j] : 0;
  return spare;
}

template <class Run>
void quantize_block(const float* x, std::size_t begin, std::size_t k, std::size_t block, std::int8_t* q,
                    float* scale, std::int16_t* sums) {
  float spare[kSumGroup];
  const std::size_t end = begin + block;
  typename Run::Largest seen;
  for (std::size_t j = begin; j < end && j < k; j += kSumGroup) seen.take(run_of(x, j, k, spare));
  const std::uint32_t bits = seen.bits();
  const bool finite = bits < 0x7f800000u;
  float largest;
  __builtin_memcpy(&largest, &bits, sizeof largest);
  const float inverse = 127.0f / largest;
  const bool usable = finite && __builtin_isfinite(inverse);
  *scale = !finite ? __builtin_nanf("") : usable ? largest / 127.0f : 0;
  for (std::size_t j = begin; j < end; j += kSumGroup) {
    if (usable && j < k) {
      sums[j / kSumGroup] = static_cast<std::int16_t>(Run::quantize(run_of(x, j, k, spare), inverse, q + j));
    } else {
      __builtin_memset(q + j, 0, kSumGroup);
      sums[j / kSumGroup] = 0;
    }
  }
}

template <class Run>
void quantize(const float* x, std::size_t ldx, std::size_t m, std::size_t k, std::size_t block,
              const QuantizedRowsOut& out) {
  const std::size_t stride = round_up(k, kActBlock), scales = stride / block;
  for (std::size_t i = 0; i < m; ++i)
    for (std::size_t b = 0; b < scales; ++b)
      quantize_block<Run>(x + i * ldx, b * block, k, block, out.q + i * stride, out.scale + i * scales + b,
                          out.sums + i * (stride / kSumGroup));
}

}  // namespace
}  // namespace dgq
