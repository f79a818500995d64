// The cache and attention against the formula in double.
#include "runtime/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/runtime/synthetic.h"

namespace dgq {
namespace {

using test::random_floats;

const Kernels& kernels() {
  static const Kernels best = *select_kernels("");
  return best;
}

TEST(KvCache, KeepsWhatIsStored) {
  ModelConfig config = test::small_config();
  for (const std::size_t head_dim : {2, 10, 16, 64, 80, 160}) {
    config.head_dim = head_dim;
    const auto x = random_floats(head_dim, 12);
    const auto scaled = [&](float factor) {
      auto y = x;
      for (float& v : y) v *= factor;
      return y;
    };
    KvCache f32(config, 37, KvType::f32), int8(config, 37, KvType::int8);
    for (std::size_t layer = config.layers; layer-- > 0;)
      for (std::size_t head = config.kv_heads; head-- > 0;)
        for (std::size_t t = 37; t-- > 0;)
          for (KvCache* cache : {&f32, &int8})
            cache->store(layer, head, t, scaled(static_cast<float>(t + 1)).data(),
                         scaled(static_cast<float>(t + 2)).data(), *kernels().quantize_rows->run);
    float largest = 0;
    for (const float v : x) largest = std::max(largest, std::abs(v));
    const W8Matrix keys = int8.keys(1, 1, 35), values = int8.values(0, 1, 35);
    EXPECT_EQ(keys.n, 35u);
    EXPECT_EQ(values.k, 35u);
    for (std::size_t t = 0; t < 35; ++t) {
      const float key = static_cast<float>(t + 1), value = static_cast<float>(t + 2);
      for (std::size_t d = 0; d < head_dim; ++d) {
        EXPECT_EQ(f32.key_rows(1, 1)[t * head_dim + d], x[d] * key);
        EXPECT_EQ(f32.value_rows(0, 1)[t * head_dim + d], x[d] * value);
        const float step = largest / 127;
        EXPECT_NEAR(keys.s1[t] * static_cast<float>(w8_at(keys, t, d)), x[d] * key, 0.5001f * step * key);
        EXPECT_NEAR(int8.value_scales(0, 1)[t] * static_cast<float>(w8_at(values, d, t)), x[d] * value,
                    0.5001f * step * value);
      }
    }
  }
}

// Four query heads of one kv head, rows from position 130 on: more than one chunk of positions.
class Attention : public testing::TestWithParam<KvType> {};

TEST_P(Attention, IsTheFormula) {
  ModelConfig config = test::small_config();
  config.head_dim = 20;
  const std::size_t d = config.head_dim, heads = 4, rows = 9, first = 130, length = first + rows;
  const auto q = random_floats(rows * heads * d, 1), k = random_floats(length * d, 2),
             v = random_floats(length * d, 3);
  KvCache cache(config, 200, GetParam());
  for (std::size_t t = 0; t < length; ++t)
    cache.store(1, 1, t, &k[t * d], &v[t * d], *kernels().quantize_rows->run);

  const auto run = [&](std::size_t from, std::size_t count) {
    std::vector<float> out(count * heads * d);
    AttentionScratch scratch;
    scratch.grow(count * heads, length, d);
    attend(cache, 1, 1, d, {count, first + from, heads, &q[from * heads * d], out.data(), heads * d},
           kernels(), scratch);
    return out;
  };
  const std::vector<float> out = run(0, rows);
  for (std::size_t i = 0; i < rows; ++i) {  // whatever the tile
    const std::vector<float> alone = run(i, 1);
    EXPECT_TRUE(
        std::equal(alone.begin(), alone.end(), out.begin() + static_cast<std::ptrdiff_t>(i * heads * d)));
  }

  double worst = 0;
  for (std::size_t i = 0; i < rows * heads; ++i) {
    const std::size_t sees = first + i / heads + 1;
    std::vector<double> p(sees);
    double sum = 0;
    for (std::size_t t = 0; t < sees; ++t) {
      double dot = 0;
      for (std::size_t c = 0; c < d; ++c) dot += static_cast<double>(q[i * d + c]) * k[t * d + c];
      sum += p[t] = std::exp(dot / std::sqrt(static_cast<double>(d)));
    }
    for (std::size_t c = 0; c < d; ++c) {
      double exact = 0;
      for (std::size_t t = 0; t < sees; ++t) exact += p[t] / sum * v[t * d + c];
      worst = std::max(worst, std::abs(out[i * d + c] - exact));
    }
  }
  // Values are of size 1 and their mean of size 0.1; int8 of q, k, p and v are steps of about 1/127 of the largest.
  EXPECT_LT(worst, GetParam() == KvType::f32 ? 2e-6 : 0.02);
}

INSTANTIATE_TEST_SUITE_P(Types, Attention, testing::Values(KvType::f32, KvType::int8),
                         [](const auto& info) { return info.param == KvType::f32 ? "f32" : "int8"; });

}  // namespace
}  // namespace dgq
