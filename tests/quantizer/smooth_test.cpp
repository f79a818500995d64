#include "quantizer/smooth.h"

#include <gtest/gtest.h>

#include <cmath>
#include <optional>

#include "tests/support/command.h"
#include "tests/support/tiny_checkpoint.h"

namespace dgq {
namespace {

TEST(Smooth, FactorsAreWhatGoesBeyondThePercentile) {
  std::vector<float> maxima(200, 2.0f);
  maxima[7] = 30;
  for (std::size_t c = 0; c < 200; ++c) EXPECT_EQ(factors_of(maxima, 99.5)[c], c == 7 ? 15 : 1) << c;
  for (const float factor : factors_of(maxima, 100)) EXPECT_EQ(factor, 1);
  for (const float factor : factors_of(std::vector<float>(5, 0.0f), 99.5)) EXPECT_EQ(factor, 1);
}

class Outliers : public testing::Test {
 protected:
  // Channel 5 of a norm, 9 of v and 11 of up are 30 times as large, which what follows takes back.
  Outliers() {
    test::TinyCheckpoint tiny = test::tiny_checkpoint();
    tiny.write(scratch_ / "plain");
    plain_.emplace(*Checkpoint::open(scratch_ / "plain"));
    for (std::size_t i = 0; i < 2; ++i) {
      LayerF32 layer = *plain_->layer(i);
      LayerFactors inverse{std::vector<float>(64, 1.0f), std::vector<float>(64, 1.0f),
                           std::vector<float>(32, 1.0f), std::vector<float>(96, 1.0f)};
      inverse.q[5] = inverse.gate[5] = inverse.o[9] = inverse.down[11] = 1.0f / 30;
      apply(inverse, plain_->config(), layer);
      outliers_.push_back(std::move(layer));
    }
  }
  std::vector<float> run(const std::vector<LayerF32>& layers, const Sequence& sequence,
                         std::vector<float>* at_q) {
    ModelConfig config = plain_->config();
    config.layers = 1;
    Decoder decoder(config, kernels_, 1);
    KvCache cache(config, sequence.size(), KvType::f32);
    std::vector<Row> rows;
    for (std::size_t t = 0; t < sequence.size(); ++t) rows.push_back({&cache, t});
    const std::vector<float> table = *plain_->embedding();
    std::vector<float> hidden(sequence.size() * 64);
    decoder.embed(F32Matrix{260, 64, table.data(), nullptr}, sequence, hidden.data());
    const Tap tap = [&](TapPoint point, const float* x, std::size_t m, std::size_t k) {
      if (point == TapPoint::q) at_q->assign(x, x + m * k);
      return true;
    };
    for (const LayerF32& layer : layers) decoder.run_layer(0, layer.weights, rows, hidden.data(), &tap);
    return hidden;
  }

  test::ScratchFolder scratch_;
  std::optional<Checkpoint> plain_;
  std::vector<LayerF32> outliers_;
  Kernels kernels_ = *select_kernels("");
};

TEST_F(Outliers, TheModelComputesTheSame) {
  const Sequence sequence = {0, 9, 33, 120, 7, 64, 250};
  std::vector<LayerF32> plain;
  for (std::size_t i = 0; i < 2; ++i) plain.push_back(*plain_->layer(i));
  std::vector<float> at_q, outliers_at_q;
  const std::vector<float> expected = run(plain, sequence, &at_q),
                           found = run(outliers_, sequence, &outliers_at_q);
  for (std::size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(found[i], expected[i], 1e-4) << i;
  EXPECT_NEAR(outliers_at_q[5], 30 * at_q[5], 1e-3 * std::fabs(outliers_at_q[5]));
  EXPECT_NEAR(outliers_at_q[6], at_q[6], 1e-4);
}

TEST_F(Outliers, AreMeasuredInEveryPlace) {
  std::vector<Sequence> sequences;
  for (std::int32_t s = 0; s < 8; ++s) {
    sequences.emplace_back();
    for (std::int32_t i = 0; i < 40; ++i) sequences.back().push_back((s * 91 + i * i * 7 + i * 13) % 260);
  }
  const LayerReader reader = [&](std::size_t i) -> Result<LayerF32> {
    LayerF32 copy = *plain_->layer(i);
    LayerFactors inverse{std::vector<float>(64, 1.0f), std::vector<float>(64, 1.0f),
                         std::vector<float>(32, 1.0f), std::vector<float>(96, 1.0f)};
    inverse.q[5] = inverse.gate[5] = inverse.o[9] = inverse.down[11] = 1.0f / 30;
    apply(inverse, plain_->config(), copy);
    return copy;
  };
  const auto factors = *measure_factors(*plain_, reader, kernels_, sequences, 95, 2, {});
  const auto again = *measure_factors(*plain_, reader, *select_kernels("ref"), sequences, 95, 1, {});
  ASSERT_EQ(factors.size(), 2u);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_GT(factors[i].q[5], 5);
    EXPECT_GT(factors[i].gate[5], 5);
    EXPECT_GT(factors[i].o[9], 5);
    EXPECT_GT(factors[i].down[11], 5);
    EXPECT_EQ(factors[i].q, again[i].q);
    EXPECT_EQ(factors[i].down, again[i].down);
  }
}

}  // namespace
}  // namespace dgq
