// Every row against ref, bit by bit, and ref against double.
#include "kernels/float_ops.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <random>

#include "kernels/table.h"
#include "tests/kernels/guarded.h"

namespace dgq {
namespace {

using Floats = test::Guarded<float>;

const FloatOps& ref() { return *float_ops_kernels().back().run; }

Floats random_floats(std::size_t count, unsigned seed, float scale = 1) {
  std::mt19937 random(seed);
  std::vector<float> values(count);
  for (float& value : values)  // small and large, and zeros
    value = scale *
            std::ldexp(static_cast<float>(random() % 4001) - 2000.0f, static_cast<int>(random() % 12) - 14);
  return Floats{std::span<const float>(values)};
}

std::vector<std::uint32_t> bits(const Floats& values) {
  std::vector<std::uint32_t> out;
  for (const float value : values.span()) out.push_back(std::bit_cast<std::uint32_t>(value));
  return out;
}

// The outputs of all operations for n elements.
std::vector<std::vector<std::uint32_t>> outputs(const FloatOps& ops, std::size_t n) {
  const Floats weight = random_floats(n, 2), up = random_floats(n, 3);
  std::vector<std::vector<std::uint32_t>> out;
  const auto in_place = [&](float scale, auto operation) {
    Floats x = random_floats(n, 1, scale);
    operation(x.data());
    out.push_back(bits(x));
  };
  in_place(1, [&](float* x) { ops.rms_norm(x, weight.data(), n, 1e-5f, x); });
  for (const float scale : {0.0f, 1.0f, 40.0f})
    in_place(scale, [&](float* x) { ops.swiglu(x, up.data(), n); });
  for (const float unit : {1.0f, 0.125f, 20.0f})
    in_place(3, [&](float* x) { out.push_back({std::bit_cast<std::uint32_t>(ops.softmax(x, n, unit))}); });
  in_place(1, [&](float* x) { ops.add(x, up.data(), n); });
  in_place(1, [&](float* x) { ops.multiply(x, up.data(), n); });
  in_place(1, [&](float* x) { ops.scale(x, 0.3f, n, x); });
  Floats pairs = random_floats(2 * n, 4);
  ops.rotate(pairs.data(), weight.data(), up.data(), 2 * n);
  out.push_back(bits(pairs));
  ops.rotate_pairs(pairs.data(), weight.data(), up.data(), 2 * n);
  out.push_back(bits(pairs));
  Floats turned(2 * n);
  ops.pair_halves(pairs.data(), 2 * n, turned.data());
  out.push_back(bits(turned));
  return out;
}

TEST(FloatOps, EveryRowEqualsRef) {
  const auto rows = test::runnable(float_ops_kernels(), "float_ops");
  for (const std::size_t n : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 100, 576})
    for (const auto* row : rows)
      EXPECT_EQ(outputs(*row->run, n), outputs(ref(), n)) << row->isa << " n=" << n;
}

TEST(FloatOps, InfinitiesAndNaNsShow) {
  constexpr float kInfinity = INFINITY, kNan = NAN;
  for (const auto* row : test::runnable(float_ops_kernels(), "float_ops")) {
    float gate[] = {kNan, kInfinity, -kInfinity, 1};
    const float up[] = {1, 1, 1, kNan};
    row->run->swiglu(gate, up, 4);
    EXPECT_TRUE(std::isnan(gate[0])) << row->isa;
    EXPECT_EQ(gate[1], kInfinity) << row->isa;
    EXPECT_TRUE(std::isnan(gate[2])) << row->isa;  // -inf / inf
    EXPECT_TRUE(std::isnan(gate[3])) << row->isa;
  }
}

TEST(FloatOps, RmsNormMatchesDouble) {
  for (const std::size_t n : {1, 15, 16, 17, 384}) {
    const Floats x = random_floats(n, 3), weight = random_floats(n, 4);
    double squares = 0;
    for (const float v : x.span()) squares += static_cast<double>(v) * v;
    const double scale = 1 / std::sqrt(squares / static_cast<double>(n) + 1e-5);
    Floats out(n);
    ref().rms_norm(x.data(), weight.data(), n, 1e-5f, out.data());
    // The sum has n / 16 + 4 roundings, half of its error survives the root, and 4 more operations follow.
    const double tolerance = (static_cast<double>(n) / 32 + 8) * 0x1p-24;
    for (std::size_t i = 0; i < n; ++i)
      EXPECT_NEAR(out[i], x[i] * scale * weight[i], tolerance * std::abs(out[i]));
  }
  const Floats ones(20, 1.0f);
  Floats zeros(20);
  ref().rms_norm(zeros.data(), ones.data(), 20, 1e-6f, zeros.data());
  EXPECT_EQ(bits(zeros), std::vector<std::uint32_t>(20));
}

TEST(FloatOps, SoftmaxMatchesDouble) {
  for (const std::size_t n : {1, 2, 16, 33, 500}) {
    const Floats original = random_floats(n, 5);
    Floats x{original.span()};
    const float highest = *std::max_element(x.data(), x.data() + n);
    const float total = ref().softmax(x.data(), n, 0.5f);
    double exact = 0;
    for (std::size_t i = 0; i < n; ++i) {
      EXPECT_NEAR(x[i], std::exp(static_cast<double>(original[i] - highest) * 0.5),
                  3e-7);  // 2 ulp of at most 1
      exact += x[i];
    }
    EXPECT_NEAR(total / exact, 1, (static_cast<double>(n) / 16 + 4) * 0x1p-24);
  }
  float far[] = {-1e30f, 0, -200};
  EXPECT_EQ(ref().softmax(far, 3, 1), 1.0f);
  EXPECT_EQ(std::vector<float>(far, far + 3), (std::vector<float>{0, 1, 0}));
}

TEST(FloatOps, SwigluMatchesDouble) {
  Floats gate = random_floats(100, 6);
  gate[0] = -100, gate[1] = 100, gate[2] = 0;
  const Floats original{gate.span()}, up = random_floats(100, 7);
  ref().swiglu(gate.data(), up.data(), 100);
  for (std::size_t i = 0; i < 100; ++i) {
    const double x = original[i], exact = x / (1 + std::exp(-x)) * up[i];
    EXPECT_NEAR(gate[i], exact, 5 * 0x1p-23 * std::abs(exact) + 1e-30) << i;
  }
}

TEST(FloatOps, RotateTurnsPairsHalfAHeadApart) {
  float x[] = {1, 2, 3, 4};
  const float cosine[] = {0, 1}, sine[] = {1, 0};  // a quarter turn, no turn
  ref().rotate(x, cosine, sine, 4);
  EXPECT_EQ(std::vector<float>(x, x + 4), (std::vector<float>{-3, 2, 1, 4}));
  float neighbours[] = {1, 3, 2, 4};
  ref().rotate_pairs(neighbours, cosine, sine, 4);
  EXPECT_EQ(std::vector<float>(neighbours, neighbours + 4), (std::vector<float>{-3, 1, 2, 4}));
  ref().pair_halves(x, 4, neighbours);
  EXPECT_EQ(std::vector<float>(neighbours, neighbours + 4), (std::vector<float>{-3, 1, 2, 4}));
}

}  // namespace
}  // namespace dgq
