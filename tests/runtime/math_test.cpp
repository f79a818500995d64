// Our own elementary functions against libm, which is within 1 ulp itself.
#include "runtime/math.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace dgq {
namespace {

TEST(ExpF32, WithinTwoUlpOfLibm) {
  double worst = 0;
  for (std::int32_t i = -87 * 4096; i <= 88 * 4096; ++i) {
    const float x = static_cast<float>(i) / 4096.0f + static_cast<float>(i % 7) * 1e-5f;
    if (x < -87) continue;
    const double exact = std::exp(static_cast<double>(x));
    const float rounded = static_cast<float>(exact);
    const double ulp = static_cast<double>(std::nextafter(rounded, INFINITY)) - rounded;
    worst = std::max(worst, std::abs(exp_f32(x) - exact) / ulp);
  }
  EXPECT_LT(worst, 2.0);
}

TEST(ExpF32, Extremes) {
  EXPECT_EQ(exp_f32(0.0f), 1.0f);
  EXPECT_EQ(exp_f32(-0.0f), 1.0f);
  EXPECT_EQ(exp_f32(-88.0f), 0.0f);
  EXPECT_EQ(exp_f32(-INFINITY), 0.0f);
  EXPECT_EQ(exp_f32(89.0f), INFINITY);
  EXPECT_EQ(exp_f32(1e30f), INFINITY);
  EXPECT_EQ(exp_f32(INFINITY), INFINITY);
  EXPECT_TRUE(std::isnan(exp_f32(std::numeric_limits<float>::quiet_NaN())));
  EXPECT_GT(exp_f32(88.7f), 3.3e38f);
  EXPECT_GT(exp_f32(-87.0f), 0.0f);
}

// The bits themselves: a build on another machine or compiler must give the same.
TEST(ExpF32, BitsAreFixed) {
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a over the bits of a sweep
  for (int i = -90 * 64; i <= 90 * 64; ++i) {
    hash = (hash ^ std::bit_cast<std::uint32_t>(exp_f32(static_cast<float>(i) / 64.0f * 1.001f))) *
           0x100000001b3;
  }
  EXPECT_EQ(hash, 0xb129fcf8b8981du) << std::hex << hash;
}

TEST(ExpF64, MatchesLibm) {
  for (double x = -700; x < 709.7; x += 0.0371) EXPECT_NEAR(exp_f64(x) / std::exp(x), 1, 1e-15) << x;
  EXPECT_EQ(exp_f64(0), 1);
  EXPECT_EQ(exp_f64(-701), 0);
  EXPECT_EQ(exp_f64(-INFINITY), 0);
  EXPECT_EQ(exp_f64(800), INFINITY);
  EXPECT_TRUE(std::isnan(exp_f64(NAN)));
}

TEST(LogF64, MatchesLibm) {
  for (double x = 1e-300; x < 1e300; x *= 1.137) EXPECT_NEAR(log_f64(x) / std::log(x), 1, 1e-15) << x;
  for (double x = 0.5; x < 2; x += 0.0007)
    EXPECT_NEAR(log_f64(x), std::log(x), 2e-16 + 1e-15 * std::abs(std::log(x))) << x;
  EXPECT_EQ(log_f64(1), 0);
}

TEST(SinCosF64, MatchLibmUpToTheLongestContext) {
  double worst = 0;
  for (double x = -20; x < 20; x += 0.00317) {
    worst = std::max(worst, std::abs(sin_f64(x) - std::sin(x)));
    worst = std::max(worst, std::abs(cos_f64(x) - std::cos(x)));
  }
  for (double x = 0; x <= 1 << 20; x += 1) {  // angles of the first frequency, 1
    worst = std::max(worst, std::abs(sin_f64(x) - std::sin(x)));
    worst = std::max(worst, std::abs(cos_f64(x) - std::cos(x)));
  }
  EXPECT_LT(worst, 1e-15);
}

TEST(PowF64, MatchesLibmOverRopeExponents) {
  for (const double base : {10000.0, 500000.0, 1e6, 1e9})
    for (int i = 0; i <= 128; ++i)
      EXPECT_NEAR(pow_f64(base, -i / 128.0) / std::pow(base, -i / 128.0), 1, 1e-13) << base << " " << i;
  EXPECT_EQ(pow_f64(10000, 0), 1);
}

}  // namespace
}  // namespace dgq
