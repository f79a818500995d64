#include "runtime/math.h"

#include <array>
#include <cstddef>

namespace dgq {
namespace {

// Adding it to |x| < 2^51 leaves the nearest integer (ties to even) in the low bits.
constexpr double kRound = 0x1.8p+52;

double power_of_two(std::int64_t e) {
  return std::bit_cast<double>(static_cast<std::uint64_t>(e + 1023) << 52);
}

// 1/n! with n = first, first + step, ...; every second one negated if `alternating`. Exact up to 18!, then
// within an ulp.
template <std::size_t N>
constexpr std::array<double, N> inverse_factorials(int first, int step, bool alternating) {
  std::array<double, N> series{};
  double factorial = 1;
  int n = 0;
  for (std::size_t i = 0; i < N; ++i) {
    for (; n < first + step * static_cast<int>(i);) factorial *= ++n;
    series[i] = (alternating && i % 2 == 1 ? -1 : 1) / factorial;
  }
  return series;
}

template <std::size_t N>
double polynomial(const std::array<double, N>& coefficients, double x) {
  double sum = coefficients[N - 1];
  for (std::size_t i = N - 1; i-- > 0;) sum = sum * x + coefficients[i];
  return sum;
}

// sin(x + quarter * pi/2).
double sine(double x, std::int64_t quarter) {
  // |r| <= pi/4: the first terms left out are under 1e-20.
  static constexpr auto kCos = inverse_factorials<10>(0, 2, true), kSin = inverse_factorials<10>(1, 2, true);
  constexpr double kTwoOverPi = 0x1.45f306dc9c883p-1;
  // pi/2 in parts of 33, 33 and 53 bits: n * part is exact for the first two while n < 2^20 (Cody and Waite).
  constexpr double kPart1 = 0x1.921fb544p+0, kPart2 = 0x1.0b4611a6p-34, kPart3 = 0x1.3198a2e037073p-69;
  const double n = (x * kTwoOverPi + kRound) - kRound;
  const double r = ((x - n * kPart1) - n * kPart2) - n * kPart3;
  quarter += static_cast<std::int64_t>(n);
  const double value = quarter & 1 ? polynomial(kCos, r * r) : r * polynomial(kSin, r * r);
  return quarter & 2 ? -value : value;
}

}  // namespace

double exp_f64(double x) {
  constexpr double kLog2E = 0x1.71547652b82fep+0;
  constexpr double kLn2High = 0x1.62e42feep-1,
                   kLn2Low = 0x1.a39ef35793c76p-33;  // n * high is exact: 32 bits by 11
  if (x < -700) return 0;
  const double clamped = x > 710 ? 710 : x;
  if (clamped != clamped) return x;
  const double n = (clamped * kLog2E + kRound) - kRound;
  const double r = (clamped - n * kLn2High) - n * kLn2Low;
  static constexpr auto kSeries = inverse_factorials<15>(0, 1, false);  // the next term is r^15 / 15! < 1e-19
  const auto integer = static_cast<std::int64_t>(n);
  return polynomial(kSeries, r) * power_of_two(integer / 2) * power_of_two(integer - integer / 2);
}

double log_f64(double x) {
  constexpr double kLn2High = 0x1.62e42feep-1, kLn2Low = 0x1.a39ef35793c76p-33;
  constexpr std::uint64_t kSqrtHalf = 0x3fe6a09e667f3bcd;
  // x = m * 2^e with m in [sqrt(1/2), sqrt(2)); log m = 2 atanh(s), s = (m - 1) / (m + 1), |s| < 0.172.
  const auto bits = std::bit_cast<std::uint64_t>(x);
  const auto e = static_cast<std::int64_t>(bits - kSqrtHalf) >> 52;
  const double m = std::bit_cast<double>(bits - (static_cast<std::uint64_t>(e) << 52));
  const double s = (m - 1) / (m + 1), s2 = s * s;
  double sum = 0;
  for (int i = 23; i > 1; i -= 2) sum = (sum + 1.0 / i) * s2;
  const auto n = static_cast<double>(e);
  return n * kLn2High + (n * kLn2Low + (2 * s + 2 * s * sum));
}

double sin_f64(double x) { return sine(x, 0); }
double cos_f64(double x) { return sine(x, 1); }
double pow_f64(double x, double y) { return exp_f64(y * log_f64(x)); }

}  // namespace dgq
