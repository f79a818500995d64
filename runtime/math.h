// runtime/math.h - elementary functions in plain IEEE arithmetic: no libm, no fma, no contraction, so every
// machine and compiler gives the same bits. Sums are Taylor series on a reduced argument; their coefficients
// need no table.
#pragma once

#include <bit>
#include <cstdint>

namespace dgq {

// e^x within 2 ulp (measured over all floats: math_test). 0 below -87 (no denormals), infinity above 88.73;
// NaN stays NaN. Without a branch, so that loops over it vectorise.
inline float exp_f32(float x) {
  constexpr float kLowest = -87.0f, kHighest = 89.0f;
  constexpr float kLog2E = 0x1.715476p+0f;
  constexpr float kLn2High = 0x1.62cp-1f, kLn2Low = 0x1.217f7ep-12f;  // n * high is exact: 11 bits by 8
  constexpr float kRound = 0x1.8p+23f;  // adding it leaves the nearest integer in the low bits (ties to even)
  const float clamped = x < kLowest ? kLowest : x > kHighest ? kHighest : x;
  const float shifted = clamped * kLog2E + kRound;
  const float n = shifted - kRound;
  const float r = (clamped - n * kLn2High) - n * kLn2Low;  // |r| <= 0.347; the next term is r^8 / 8! < 6e-9
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * (r * r) + r + 1.0f;
  // 2^n in two factors, since 2^128 alone is no float.
  const auto integer =
      static_cast<std::int32_t>(std::bit_cast<std::uint32_t>(shifted) - std::bit_cast<std::uint32_t>(kRound));
  const std::int32_t half = integer >> 1;
  const auto power = [](std::int32_t e) {
    return std::bit_cast<float>((static_cast<std::uint32_t>(e) + 127u) << 23);
  };
  const float y = p * power(half) * power(integer - half);
  return x < kLowest ? 0.0f : y;
}

// Relative error under 1e-15 for exp (0 below -700, infinity above 709.8) and log (x positive and normal).
double exp_f64(double x);
double log_f64(double x);

// Absolute error under 1e-15 for |x| <= 2^20.
double sin_f64(double x);
double cos_f64(double x);

// x^y = e^(y log x) for x > 0; relative error under 1e-13 for results from 1e-20 to 1e20.
double pow_f64(double x, double y);

}  // namespace dgq
