#include "quantizer/static_scales.h"

#include <gtest/gtest.h>

#include <cmath>

#include "runtime/compare.h"
#include "tests/support/command.h"
#include "tests/support/tiny_checkpoint.h"

namespace dgq {
namespace {

class StaticScales : public testing::Test {
 protected:
  StaticScales() {
    test::tiny_checkpoint().write(scratch_.path());
    checkpoint_.emplace(*Checkpoint::open(scratch_.path()));
    for (std::int32_t s = 0; s < 24; ++s) {
      sequences_.emplace_back();
      for (std::int32_t i = 0; i < 48; ++i) sequences_.back().push_back((s * 91 + i * i * 7 + i * 13) % 260);
    }
  }
  std::vector<LayerStaticScales> measure(const Kernels& kernels, int threads) const {
    return *measure_static_scales(*checkpoint_, [&](std::size_t i) { return checkpoint_->layer(i); }, kernels,
                                  sequences_, 1, threads, {});
  }

  // KLD to fp32 when this input alone is rounded to int8 with the scale: a tap that changes what it sees.
  double measured(std::size_t layer, std::size_t input, float scale) const {
    const ModelF32 model = *load_f32(*checkpoint_);
    const ModelConfig& config = checkpoint_->config();
    Decoder decoder(config, kernels_, 1);
    const Tap round = [&](TapPoint point, const float* x, std::size_t m, std::size_t k) {
      if (static_cast<std::size_t>(point) != input) return true;
      for (std::size_t i = 0; i < m * k; ++i)
        const_cast<float*>(x)[i] = scale * std::nearbyint(std::fmin(std::fmax(x[i] / scale, -127), 127));
      return true;
    };
    double sum = 0, count = 0;
    for (const Sequence& sequence : sequences_) {
      std::vector<float> logits[2];
      for (const bool rounded : {false, true}) {
        KvCache cache(config, sequence.size(), KvType::f32);
        std::vector<Row> rows;
        for (std::size_t t = 0; t < sequence.size(); ++t) rows.push_back({&cache, t});
        std::vector<float> hidden(sequence.size() * config.hidden);
        decoder.embed(model.weights.embedding, sequence, hidden.data());
        for (std::size_t i = 0; i < config.layers; ++i)
          decoder.run_layer(i, model.weights.layers[i], rows, hidden.data(),
                            rounded && i == layer ? &round : nullptr);
        logits[rounded].resize(sequence.size() * config.vocab);
        decoder.run_head(model.weights.final_norm, model.weights.head, hidden.data(), sequence.size(),
                         logits[rounded].data());
      }
      for (std::size_t t = 0; t < sequence.size(); ++t, ++count)
        sum += distance_at({&logits[0][t * config.vocab], config.vocab},
                           {&logits[1][t * config.vocab], config.vocab}, 0)
                   .kld;
    }
    return sum / count;
  }

  test::ScratchFolder scratch_;
  std::optional<Checkpoint> checkpoint_;
  std::vector<Sequence> sequences_;
  Kernels kernels_ = *select_kernels("");
};

TEST_F(StaticScales, CostIsTheKlDivergence) {
  const std::vector<LayerStaticScales> all = measure(kernels_, 2);
  for (std::size_t layer = 0; layer < 2; ++layer)
    for (std::size_t input = 0; input < kInputs; ++input) {
      const StaticScale& s = all[layer][input];
      ASSERT_GT(s.scale, 0);
      const double kld = measured(layer, input, s.scale);
      // Labels are drawn once for 1152 positions, and rounding errors are not quite independent.
      EXPECT_GT(s.cost, kld / 2) << layer << " " << input;
      EXPECT_LT(s.cost, kld * 2) << layer << " " << input;
      EXPECT_LT(kld, 1.2 * measured(layer, input, s.scale * 2)) << layer << " " << input;
      EXPECT_LT(kld, 1.2 * measured(layer, input, s.scale / 2)) << layer << " " << input;
    }
}

TEST_F(StaticScales, SameBitsEverywhere) {
  const auto a = measure(kernels_, 1), b = measure(*select_kernels("ref"), 2);
  for (std::size_t layer = 0; layer < 2; ++layer)
    for (std::size_t input = 0; input < kInputs; ++input) {
      EXPECT_EQ(a[layer][input].scale, b[layer][input].scale);
      EXPECT_EQ(a[layer][input].cost, b[layer][input].cost);
    }
}

TEST(ChooseStatic, TakesTheCheapestWithinTheLimit) {
  const std::vector<LayerStaticScales> layers = {{{{1, 3}, {2, 0.5}, {3, 9}, {4, 1}}},
                                                 {{{5, 2}, {6, 40}, {7, 0.25}, {8, 2}}}};
  const auto expect = [&](double limit, const InputScales& first, const InputScales& second) {
    EXPECT_EQ(choose_static(layers, limit), (std::vector<InputScales>{first, second})) << limit;
  };
  expect(0, {}, {});
  expect(0.7, {}, {0, 0, 7, 0});
  expect(1.75, {0, 2, 0, 4}, {0, 0, 7, 0});
  expect(4, {0, 2, 0, 4}, {5, 0, 7, 0});  // of two that cost the same the first
  expect(100, {1, 2, 3, 4}, {5, 6, 7, 8});
}

}  // namespace
}  // namespace dgq
