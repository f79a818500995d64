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

// Completes the sums over 32 columns.
DGQ_INLINE void sum_up(ChunkSums& sums) {
  int total = 0;
  for (std::size_t pair = 0; pair < kSumsPerChunk / 2; ++pair) {
    const int sum = sums.of32[2 * pair] + sums.of32[2 * pair + 1];
    sums.of64[pair] = static_cast<std::int16_t>(sum);
    total += sum;
  }
  sums.minus_128 = -128 * total;
}

// Columns [begin, begin + block) of row i, whose floats are at x.
template <class Run>
void quantize_block(const float* x, std::size_t begin, std::size_t k, const QuantizedRowsOut& out,
                    std::size_t i) {
  float spare[kSumGroup];
  const std::size_t end = begin + out.block;
  typename Run::Largest seen;
  for (std::size_t j = begin; j < end && j < k; j += kSumGroup) seen.take(run_of(x, j, k, spare));
  const std::uint32_t bits = seen.bits();
  const bool finite = bits < 0x7f800000u;
  float largest;
  __builtin_memcpy(&largest, &bits, sizeof largest);
  const float inverse = 127.0f / largest;
  const bool usable = finite && __builtin_isfinite(inverse);
  out.scale[begin / out.block * out.m + i] = !finite ? __builtin_nanf("") : usable ? largest / 127.0f : 0;
  for (std::size_t chunk = begin; chunk < end; chunk += kActBlock) {
    const std::size_t at = chunk / kActBlock * out.m + i;
    ChunkSums& sums = out.sums[at];
    for (std::size_t run = 0; run < kSumsPerChunk; ++run) {
      const std::size_t j = chunk + run * kSumGroup;
      std::int8_t* q = out.q + at * kActBlock + run * kSumGroup;
      if (usable && j < k) {
        sums.of32[run] = static_cast<std::int16_t>(Run::quantize(run_of(x, j, k, spare), inverse, q));
      } else {
        __builtin_memset(q, 0, kSumGroup);
        sums.of32[run] = 0;
      }
    }
    sum_up(sums);
  }
}

template <class Run>
void quantize(const float* x, std::size_t ldx, std::size_t k, const QuantizedRowsOut& out, std::size_t first,
              std::size_t rows) {
  for (std::size_t i = 0; i < rows; ++i)
    for (std::size_t begin = 0; begin < out.stride; begin += out.block)
      quantize_block<Run>(x + i * ldx, begin, k, out, first + i);
}

}  // namespace
}  // namespace dgq
