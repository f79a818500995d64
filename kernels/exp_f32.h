// kernels/exp_f32.h - e^x in plain IEEE arithmetic, for one float or a vector of them: no libm, no fma, so every
// machine and compiler gives the same bits.
#pragma once

#include <cstdint>

#include "kernels/packed.h"

namespace dgq {

// F: float or a vector of floats (GCC's vector extension); I: std::int32_t or a vector of as many.
//
// Within 2 ulp (measured over all floats: math_test). 0 below -87 (no denormals), infinity above 88.73; NaN stays
// NaN. A Taylor series on a reduced argument; without a branch.
template <class F, class I>
DGQ_INLINE F exp_f32_of(F x) {
  constexpr float kLog2E = 0x1.715476p+0f;
  constexpr float kLn2High = 0x1.62cp-1f, kLn2Low = 0x1.217f7ep-12f;  // n * high is exact: 11 bits by 8
  const F zero = {}, lowest = zero - 87.0f, highest = zero + 89.0f;
  const F round = zero + 0x1.8p+23f;  // adding it leaves the nearest integer in the low bits (ties to even)
  const F clamped = x < lowest ? lowest : x > highest ? highest : x;
  const F shifted = clamped * kLog2E + round;
  const F n = shifted - round;
  const F r = (clamped - n * kLn2High) - n * kLn2Low;  // |r| <= 0.347; the next term is r^8 / 8! < 6e-9
  F p = zero + 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * (r * r) + r + 1.0f;
  // 2^n in two factors, since 2^128 alone is no float.
  const I integer = __builtin_bit_cast(I, shifted) - __builtin_bit_cast(I, round);
  const I half = integer >> 1;
  const F y =
      p * __builtin_bit_cast(F, (half + 127) << 23) * __builtin_bit_cast(F, (integer - half + 127) << 23);
  return x < lowest ? zero : y;
}

}  // namespace dgq
