// kernels/quantize_rows_loops.h - quantize_rows.h in runs of 32 columns. `Run` brings the vectors:
//
//   Run::Largest                      keeps the bits of the largest |x| seen: take(x) looks at 32 floats,
//                                     bits() is the result
//   Run::quantize<kClip>(x, inverse, q)
//                                     q[j] = round_half_even(x[j] * inverse) for 32 columns, clipped to -127..127 where
//                                     kClip says that it may lie beyond; returns their sum
//   Run::subtract(x, q, scale, out)   out[j] = x[j] - q[j] * scale for 32 columns
//
// Bits of |x| compare as integers in the order of the floats, with infinities and NaNs above all numbers.
// In an unnamed namespace: each kernel file has its own copy, compiled with its own flags.
#pragma once

#include "kernels/quantize_rows.h"

namespace dgq {
namespace {

// 32 columns of x, of which `used` are there: in place, or, where they end before, copied to `spare` and filled with 0.
DGQ_INLINE const float* run_of(const float* x, std::size_t used, float* spare) {
  if (used >= kSumGroup) return x;
  for (std::size_t j = 0; j < kSumGroup; ++j) spare[j] = j < used ? x[j] : 0;
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

// The block of row i from column `begin` on; x: its floats, of which the first `used` are there. The scale is `given`, if
// kGiven, else what the largest |x| asks for. Returns it.
template <class Run, bool kGiven = false>
float quantize_block(const float* x, std::size_t used, const QuantizedRowsOut& out, std::size_t i,
                     std::size_t begin, float given = 0) {
  float spare[kSumGroup];
  typename Run::Largest seen;
  for (std::size_t j = 0; j < out.block && j < used; j += kSumGroup)
    seen.take(run_of(x + j, used - j, spare));
  const std::uint32_t bits = seen.bits();
  const bool finite = bits < 0x7f800000u;
  float largest;
  __builtin_memcpy(&largest, &bits, sizeof largest);
  const float inverse = kGiven ? 1.0f / given : 127.0f / largest;
  const bool usable = finite && __builtin_isfinite(inverse);
  for (std::size_t chunk = 0; chunk < out.block; chunk += kActBlock) {
    const std::size_t at = (begin + chunk) / kActBlock * out.m + i;
    ChunkSums& sums = out.sums[at];
    for (std::size_t run = 0; run < kSumsPerChunk; ++run) {
      const std::size_t j = chunk + run * kSumGroup;
      std::int8_t* q = out.q + at * kActBlock + run * kSumGroup;
      if (usable && j < used) {
        const float* from = run_of(x + j, used - j, spare);
        sums.of32[run] = static_cast<std::int16_t>(Run::template quantize<kGiven>(from, inverse, q));
      } else {
        __builtin_memset(q, 0, kSumGroup);
        sums.of32[run] = 0;
      }
    }
    sum_up(sums);
  }
  const float scale = kGiven ? given : largest / 127.0f;
  return out.scale[begin / out.block * out.m + i] = !finite ? __builtin_nanf("") : usable ? scale : 0;
}

// body(row of out, column) for each block: x from column on, and how many floats are there.
template <class Body>
DGQ_INLINE void for_each_block(const QuantizedRowsOut& out, std::size_t rows, const Body& body) {
  for (std::size_t i = 0; i < rows; ++i)
    for (std::size_t begin = 0; begin < out.stride; begin += out.block) body(i, begin);
}

template <class Run>
void quantize(const float* x, std::size_t ldx, std::size_t k, const QuantizedRowsOut& out, std::size_t first,
              std::size_t rows) {
  for_each_block(out, rows, [&](std::size_t i, std::size_t begin) {
    quantize_block<Run>(x + i * ldx + begin, k - begin, out, first + i, begin);
  });
}

template <class Run>
void quantize_given(const float* x, std::size_t ldx, std::size_t k, const QuantizedRowsOut& out,
                    std::size_t first, std::size_t rows, float scale) {
  for (std::size_t i = 0; i < rows; ++i) quantize_block<Run, true>(x + i * ldx, k, out, first + i, 0, scale);
}

template <class Run>
void quantize_twice(const float* x, std::size_t ldx, std::size_t k, const QuantizedRowsOut& out,
                    std::size_t first, std::size_t rows, std::size_t apart) {
  for_each_block(out, rows, [&](std::size_t i, std::size_t begin) {
    const float* from = x + i * ldx + begin;
    const std::size_t used = k - begin < kActBlock ? k - begin : kActBlock;
    const float scale = quantize_block<Run>(from, used, out, first + i, begin);
    const std::int8_t* q = out.q + (begin / kActBlock * out.m + first + i) * kActBlock;
    float spare[kSumGroup], rest[kActBlock];
    for (std::size_t j = 0; j < used; j += kSumGroup)
      Run::subtract(run_of(from + j, used - j, spare), q + j, scale, rest + j);
    quantize_block<Run>(rest, used, out, first + i + apart, begin);
  });
}

}  // namespace
}  // namespace dgq
