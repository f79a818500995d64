#include "runtime/ops.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "runtime/kv_cache.h"
#include "tests/runtime/synthetic.h"

namespace dgq {
namespace {

std::vector<float> random_floats(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 1);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// The definition, read off ops.h: it must give the same bits.
float dot_by_definition(const float* a, const float* b, std::size_t n) {
  float lane[16] = {};
  for (std::size_t i = 0; i < n; ++i) {
    const float product = a[i] * b[i];
    lane[i % 16] += product;
  }
  for (const std::size_t width : {8, 4, 2, 1})
    for (std::size_t l = 0; l < width; ++l) lane[l] += lane[l + width];
  return lane[0];
}

TEST(Ops, DotIsSixteenLanesAndATree) {
  const auto a = random_floats(200, 1), b = random_floats(200, 2);
  for (std::size_t n = 0; n <= 200; ++n)
    EXPECT_EQ(dot(a.data(), b.data(), n), dot_by_definition(a.data(), b.data(), n));
}

TEST(Ops, RmsNormMatchesDouble) {
  for (const std::size_t n : {1, 15, 16, 17, 384}) {
    const auto x = random_floats(n, 3), weight = random_floats(n, 4);
    double squares = 0;
    for (const float v : x) squares += static_cast<double>(v) * v;
    const double scale = 1 / std::sqrt(squares / static_cast<double>(n) + 1e-5);
    std::vector<float> out(n);
    rms_norm(x.data(), weight.data(), n, 1e-5f, out.data());
    // The sum has n / 16 + 4 roundings, half of its error survives the root, and 4 more operations follow.
    const double tolerance = (static_cast<double>(n) / 32 + 8) * 0x1p-24;
    for (std::size_t i = 0; i < n; ++i)
      EXPECT_NEAR(out[i], x[i] * scale * weight[i], tolerance * std::abs(out[i]));
  }
}

TEST(Ops, RmsNormOfZerosIsZero) {
  const std::vector<float> zeros(20), ones(20, 1.0f);
  std::vector<float> out(20, 7.0f);
  rms_norm(zeros.data(), ones.data(), 20, 1e-6f, out.data());
  EXPECT_EQ(out, zeros);
}

TEST(Ops, SoftmaxNumerators) {
  for (const std::size_t n : {1, 2, 16, 33, 500}) {
    auto x = random_floats(n, 5);
    const auto original = x;
    const float highest = *std::max_element(x.begin(), x.end());
    const float total = softmax_numerators(x.data(), n);
    double exact = 0;
    for (std::size_t i = 0; i < n; ++i) {
      EXPECT_NEAR(x[i], std::exp(static_cast<double>(original[i] - highest)), 3e-7);  // 2 ulp of at most 1
      exact += x[i];
    }
    EXPECT_NEAR(total / exact, 1, (static_cast<double>(n) / 16 + 4) * 0x1p-24);
  }
  std::vector<float> far = {-1e30f, 0, -200};
  EXPECT_EQ(softmax_numerators(far.data(), 3), 1.0f);
  EXPECT_EQ(far, (std::vector<float>{0, 1, 0}));
}

TEST(Ops, SwigluMatchesDouble) {
  auto gate = random_floats(100, 6);
  gate[0] = -100, gate[1] = 100, gate[2] = 0;
  const auto original = gate, up = random_floats(100, 7);
  swiglu(gate.data(), up.data(), 100);
  for (std::size_t i = 0; i < 100; ++i) {
    const double x = original[i], exact = x / (1 + std::exp(-x)) * up[i];
    EXPECT_NEAR(gate[i], exact, 5 * 0x1p-23 * std::abs(exact) + 1e-30) << i;
  }
}

TEST(Ops, AddWeightedRowsGoesRowByRow) {
  for (const std::size_t n : {1, 15, 16, 17, 64, 80}) {
    const auto rows = random_floats(9 * n, 8), weight = random_floats(9, 9);
    auto expected = random_floats(n, 10), actual = expected;
    for (std::size_t t = 0; t < 9; ++t)
      for (std::size_t d = 0; d < n; ++d) {
        const float product = weight[t] * rows[t * n + d];
        expected[d] += product;
      }
    add_weighted_rows(weight.data(), rows.data(), 9, n, actual.data());
    EXPECT_EQ(actual, expected);
  }
}

TEST(Ops, RotateTurnsPairsHalfAHeadApart) {
  std::vector<float> x = {1, 2, 3, 4};
  const float cosine[] = {0, 1}, sine[] = {1, 0};  // a quarter turn, no turn
  rotate(x.data(), cosine, sine, 4);
  EXPECT_EQ(x, (std::vector<float>{-3, 2, 1, 4}));
}

TEST(Ops, QuantizeRoundsToTheNearestStep) {
  for (const std::size_t n : {1, 7, 64, 100}) {
    const auto x = random_floats(n, 11);
    std::vector<std::int8_t> q(n);
    const float scale = quantize_s8(x.data(), n, q.data());
    for (std::size_t i = 0; i < n; ++i) {
      EXPECT_LE(std::abs(x[i] - scale * q[i]), 0.5001f * scale);
      EXPECT_GE(q[i], -127);
    }
  }
  const float extremes[] = {-254, 254, 1, -1, 3, 0};  // 1 and 3 stand exactly between two steps of 2
  std::int8_t q[6];
  EXPECT_EQ(quantize_s8(extremes, 6, q), 2.0f);
  EXPECT_EQ(std::vector<int>(q, q + 6), (std::vector<int>{-127, 127, 0, 0, 2, 0}));
  const float zeros[] = {0, -0.0f};
  EXPECT_EQ(quantize_s8(zeros, 2, q), 0.0f);
  EXPECT_EQ(q[0], 0);
}

TEST(KvCache, KeepsWhatIsStored) {
  const ModelConfig config = test::small_config();
  const auto x = random_floats(config.head_dim, 12);
  for (const KvType type : {KvType::f32, KvType::int8}) {
    KvCache cache(config, 5, type);
    // The last row of the last head first, and its neighbours after it.
    for (const auto& head : {cache.values(1, 1), cache.keys(1, 1), cache.values(0, 1), cache.keys(0, 0)})
      for (std::size_t t = 5; t-- > 0;) {
        auto scaled = x;
        for (float& v : scaled) v *= static_cast<float>(t + 1);
        head.store(t, scaled.data());
      }
    std::vector<float> buffer(5 * config.head_dim);
    const KvHead head = cache.values(1, 1);
    const float* rows = head.load(2, 3, buffer.data());
    for (std::size_t t = 0; t < 3; ++t)
      for (std::size_t d = 0; d < config.head_dim; ++d) {
        const float exact = x[d] * static_cast<float>(t + 3),
                    step = type == KvType::f32 ? 0 : head.scale_at(t + 2);
        EXPECT_NEAR(rows[t * config.head_dim + d] * head.scale_at(t + 2), exact, 0.5001f * step);
      }
    const std::size_t rows_total = 2 * 2 * 2 * 5;
    EXPECT_EQ(cache.bytes(), rows_total * (type == KvType::f32 ? 4 * config.head_dim : config.head_dim + 4));
  }
}

}  // namespace
}  // namespace dgq
