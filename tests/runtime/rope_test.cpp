// Frequencies and tables against the formulas of Hugging Face's modeling_rope_utils in double, with libm.
#include "runtime/rope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "tests/runtime/synthetic.h"

namespace dgq {
namespace {

ModelConfig llama(double theta, RopeScaling scaling) {
  ModelConfig config = test::small_config();
  config.head_dim = 128;
  config.rope_theta = theta;
  config.rope_scaling = scaling;
  return config;
}

double plain(const ModelConfig& config, std::size_t i) {
  return 1 / std::pow(config.rope_theta, 2.0 * static_cast<double>(i) / static_cast<double>(config.head_dim));
}

TEST(Rope, PlainAndLinear) {
  const ModelConfig config = llama(500000, {});
  ModelConfig linear = config;
  linear.rope_scaling = {RopeScaling::Kind::linear, 4, 1, 4, 8192};
  for (std::size_t i = 0; i < 64; ++i) {
    EXPECT_NEAR(rope_frequencies(config)[i] / plain(config, i), 1, 1e-13);
    EXPECT_NEAR(rope_frequencies(linear)[i] / (plain(config, i) / 4), 1, 1e-13);
  }
}

TEST(Rope, Llama3) {  // the numbers of Llama 3.2
  const ModelConfig config = llama(500000, {RopeScaling::Kind::llama3, 32, 1, 4, 8192});
  int kept = 0, stretched = 0, between = 0;
  for (std::size_t i = 0; i < 64; ++i) {
    const double frequency = plain(config, i), wavelength = 2 * std::numbers::pi / frequency;
    double expected;
    if (wavelength < 8192.0 / 4) {
      expected = frequency, ++kept;
    } else if (wavelength > 8192.0 / 1) {
      expected = frequency / 32, ++stretched;
    } else {
      const double smooth = (8192 / wavelength - 1) / (4.0 - 1);
      expected = (1 - smooth) * frequency / 32 + smooth * frequency, ++between;
    }
    EXPECT_NEAR(rope_frequencies(config)[i] / expected, 1, 1e-12) << i;
  }
  EXPECT_GT(kept, 0);
  EXPECT_GT(stretched, 0);
  EXPECT_GT(between, 0);
}

TEST(Rope, TableGrowsWithoutChanging) {
  const ModelConfig config = llama(10000, {});
  RopeTable table(config);
  table.grow(3);
  const float before = table.sine(2)[1];
  table.grow(4000);
  EXPECT_EQ(table.sine(2)[1], before);
  for (const std::size_t position : {0, 1, 2, 1000, 3999})
    for (std::size_t i = 0; i < 64; ++i) {
      const double angle = static_cast<double>(position) * plain(config, i);
      // Half an ulp of a float up to 1, and the double frequency's error times the position.
      EXPECT_NEAR(table.cosine(position)[i], std::cos(angle), 0x1p-25 + 1e-10);
      EXPECT_NEAR(table.sine(position)[i], std::sin(angle), 0x1p-25 + 1e-10);
    }
}

}  // namespace
}  // namespace dgq
