// Gradients against finite differences of the same graph, and sensitivities against the KL divergence itself.
#include "quantizer/backward.h"

#include <gtest/gtest.h>

#include <cmath>

#include "quantizer/sensitivity.h"
#include "quantizer/token_weights.h"
#include "runtime/compare.h"
#include "runtime/decoder.h"
#include "tests/support/command.h"
#include "tests/support/not_covered.h"
#include "tests/support/tiny_checkpoint.h"

namespace dgq {
namespace {

constexpr std::size_t kTokens = 11;

class TinyLayer : public testing::Test {
 protected:
  TinyLayer() {
    test::tiny_checkpoint().write(scratch_.path());
    checkpoint_.emplace(*Checkpoint::open(scratch_.path()));
    layer_ = *checkpoint_->layer(0);
  }
  const ModelConfig& config() const { return checkpoint_->config(); }

  // What the tests call the loss: the output times fixed random numbers.
  double loss(const LayerWeights& weights, const std::vector<float>& input) const {
    const LayerTrace trace = LayerBackward(config(), kernels_, 1, weights).forward(input);
    double sum = 0;
    for (std::size_t i = 0; i < trace.output.size(); ++i)
      sum += static_cast<double>(trace.output[i]) * by_output_[i];
    return sum;
  }

  test::ScratchFolder scratch_;
  std::optional<Checkpoint> checkpoint_;
  LayerF32 layer_;
  Kernels kernels_ = *select_kernels("");
  std::vector<float> input_ = test::random_floats(kTokens * 64, 1, 5),
                     by_output_ = test::random_floats(kTokens * 64, 1, 6);
};

// With and without norms of the heads of q and k (Qwen3).
class LayerGradient : public TinyLayer, public testing::WithParamInterface<bool> {
 protected:
  LayerGradient() {
    if (!GetParam()) return;
    for (const auto& [norm, seed] : {std::pair(&layer_.weights.q_norm, 31), {&layer_.weights.k_norm, 32}}) {
      std::vector<float> values = test::random_floats(config().head_dim, 0.3f, seed);
      for (float& value : values) value += 1;
      *norm = layer_.storage.emplace_back(std::move(values)).data();
    }
  }
};
INSTANTIATE_TEST_SUITE_P(HeadNorms, LayerGradient, testing::Bool());

TEST_P(LayerGradient, ForwardIsTheDecoders) {
  ModelConfig one = config();
  one.layers = 1;
  Decoder decoder(one, kernels_, 1);
  KvCache cache(one, kTokens, KvType::f32);
  std::vector<Row> rows;
  for (std::size_t i = 0; i < kTokens; ++i) rows.push_back({&cache, i});
  std::vector<float> hidden = input_;
  decoder.run_layer(0, layer_.weights, rows, hidden.data());
  const LayerTrace trace = LayerBackward(config(), kernels_, 2, layer_.weights).forward(input_);
  for (std::size_t i = 0; i < hidden.size(); ++i) ASSERT_NEAR(trace.output[i], hidden[i], 1e-5) << i;
}

// Central differences with a step of 2^-7: the error of the third order is about 2^-14 of the values, that of rounding
// 2^-24 * |loss| / 2^-7.
constexpr double kStep = 0x1p-7, kTolerance = 0.01;

TEST_P(LayerGradient, GradientByInputIsThatOfDifferences) {
  LayerBackward graph(config(), kernels_, 1, layer_.weights);
  std::vector<float> gradient = by_output_;
  graph.backward(graph.forward(input_), gradient, [](const auto&...) {});
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    const std::vector<float> direction = test::random_floats(input_.size(), 0.2f, seed);
    std::vector<float> up = input_, down = input_;
    double expected = 0;
    for (std::size_t i = 0; i < input_.size(); ++i) {
      up[i] += static_cast<float>(kStep) * direction[i];
      down[i] -= static_cast<float>(kStep) * direction[i];
      expected += static_cast<double>(gradient[i]) * direction[i];
    }
    const double found = (loss(layer_.weights, up) - loss(layer_.weights, down)) / (2 * kStep);
    EXPECT_NEAR(found, expected, kTolerance * std::max(1.0, std::fabs(expected))) << seed;
  }
}

TEST_P(LayerGradient, GradientByEveryLinearIsThatOfDifferences) {
  LayerBackward graph(config(), kernels_, 1, layer_.weights);
  std::vector<float> gradient = by_output_;
  std::size_t seen = 0;
  graph.backward(graph.forward(input_), gradient, [&](LinearId id, const auto& by_y, const auto& x) {
    ++seen;
    LayerWeights changed = layer_.weights;
    Linear* all[] = {&changed.q,    &changed.k,  &changed.v,   &changed.o,
                     &changed.gate, &changed.up, &changed.down};
    Linear& linear = *all[static_cast<std::size_t>(id)];
    F32Matrix w = std::get<F32Matrix>(linear);
    const std::vector<float> direction = test::random_floats(w.n * w.k, 0.1f, 20 + seen);
    double expected = 0;
    for (std::size_t t = 0; t < kTokens; ++t)
      for (std::size_t n = 0; n < w.n; ++n)
        for (std::size_t k = 0; k < w.k; ++k)
          expected += static_cast<double>(by_y[t * w.n + n]) * x[t * w.k + k] * direction[n * w.k + k];
    const auto moved = [&](double step) {
      std::vector<float> weights(w.w, w.w + w.n * w.k);
      for (std::size_t i = 0; i < weights.size(); ++i) weights[i] += static_cast<float>(step) * direction[i];
      linear = F32Matrix{w.n, w.k, weights.data(), nullptr};
      return loss(changed, input_);
    };
    const double found = (moved(kStep) - moved(-kStep)) / (2 * kStep);
    EXPECT_NEAR(found, expected, kTolerance * std::max(1.0, std::fabs(expected)))
        << "linear " << static_cast<int>(id);
  });
  EXPECT_EQ(seen, kLinears);
}

class TinySensitivity : public TinyLayer {
 protected:
  TinySensitivity() {
    for (std::int32_t s = 0; s < 24; ++s) {
      sequences_.emplace_back();
      for (std::int32_t i = 0; i < 48; ++i) sequences_.back().push_back((s * 91 + i * i * 7 + i * 13) % 260);
    }
  }
  std::vector<LayerSensitivity> measure(const Kernels& kernels, int threads) const {
    return *measure_sensitivity(*checkpoint_, [&](std::size_t i) { return checkpoint_->layer(i); }, kernels,
                                sequences_, 0.01, 1, threads, {});
  }
  std::vector<Sequence> sequences_;
};

// Noise on one tensor: the KL divergence that it causes is what F and H foretell.
TEST_F(TinySensitivity, ForetellsTheKlDivergence) {
  const std::vector<LayerSensitivity> sensitivity = measure(kernels_, 2);
  ModelF32 model = *load_f32(*checkpoint_);
  std::vector<std::int32_t> tokens;
  for (const Sequence& sequence : sequences_) tokens.insert(tokens.end(), sequence.begin(), sequence.end());
  for (std::size_t layer = 0; layer < 2; ++layer)
    for (std::size_t id = 0; id < kLinears; ++id) {
      ModelWeights noisy = model.weights;
      LayerWeights& w = noisy.layers[layer];
      Linear* all[] = {&w.q, &w.k, &w.v, &w.o, &w.gate, &w.up, &w.down};
      const F32Matrix matrix = std::get<F32Matrix>(*all[id]);
      const LinearSensitivity& s = sensitivity[layer][id];
      ASSERT_EQ(s.row_fisher.size(), matrix.n);
      // d H d^T of white noise is its variance times the trace of H, which the input's energy is.
      const float deviation = 0.01f;
      std::vector<float> weights(matrix.w, matrix.w + matrix.n * matrix.k);
      const std::vector<float> noise = test::random_floats(weights.size(), deviation, 77 + id);
      for (std::size_t i = 0; i < weights.size(); ++i) weights[i] += noise[i];
      *all[id] = F32Matrix{matrix.n, matrix.k, weights.data(), nullptr};
      double fisher = 0, floor = 0;
      for (const double f : s.row_fisher) fisher += f;
      for (const double c : s.column_weight) floor += c;
      Decoder a(config(), kernels_, 1), b(config(), kernels_, 1);
      const Comparison measured = *compare_models({config(), model.weights, a, KvType::f32},
                                                  {config(), noisy, b, KvType::f32}, tokens, 48, 0, 1);
      // column_weight is at most the diagonal of H: what compensation leaves. Its sum bounds the noise's cost from below.
      const double least = 0.5 * fisher * deviation * deviation * floor;
      EXPECT_GT(measured.kld_mean, 0.4 * least) << layer << " " << id;
      EXPECT_LT(measured.kld_mean, 40 * least) << layer << " " << id;
    }
}

TEST_F(TinySensitivity, SameBitsEverywhere) {
  const auto a = measure(kernels_, 1), b = measure(*select_kernels("ref"), 2);
  for (std::size_t layer = 0; layer < 2; ++layer)
    for (std::size_t id = 0; id < kLinears; ++id) {
      EXPECT_EQ(a[layer][id].row_fisher, b[layer][id].row_fisher);
      EXPECT_EQ(a[layer][id].column_weight, b[layer][id].column_weight);
    }
}

TEST_F(TinySensitivity, TokenWeightsFollowTheGradient) {
  const LayerReader reader = [&](std::size_t i) { return checkpoint_->layer(i); };
  const auto measure = [&](const Kernels& kernels, double strength, double limit, int threads) {
    return *measure_token_weights(*checkpoint_, reader, kernels, sequences_, strength, limit, 1, threads, {});
  };
  const auto weights = measure(kernels_, 1, 1000, 1), again = measure(*select_kernels("ref"), 1, 1000, 2),
             capped = measure(kernels_, 1, 1.2, 1), none = measure(kernels_, 0, 4, 1);
  // The gradients themselves, of o: one linear reads that input.
  std::vector<double> squares;
  const std::vector<Sequence> batch(sequences_.begin(),
                                    sequences_.begin() + 16);  // labels are drawn for each batch
  const BackwardSteps steps{[](auto...) {},
                            [&](std::size_t sequence, LinearId id, const auto& gradient, const auto&) {
                              if (id != LinearId::o || sequence != 3) return;
                              squares.assign(48, 0);
                              for (std::size_t i = 0; i < gradient.size(); ++i)
                                squares[i / 64] += static_cast<double>(gradient[i]) * gradient[i];
                            },
                            [](auto) {}};
  ASSERT_TRUE(run_backward(*checkpoint_, reader, kernels_, batch, 1, 1, steps, {}));
  const std::vector<float>& of_o = weights[0][static_cast<std::size_t>(TapPoint::o)][3];
  ASSERT_EQ(of_o.size(), 48u);  // layer 0 is the last that was seen
  for (std::size_t t = 0; t < 47; ++t)
    EXPECT_NEAR(of_o[t] / of_o[47], squares[t] / squares[47], 1e-3 * squares[t] / squares[47]);
  for (std::size_t layer = 0; layer < 2; ++layer)
    for (std::size_t point = 0; point < 4; ++point) {
      EXPECT_EQ(weights[layer][point], again[layer][point]);
      double sum = 0, largest = 0, largest_capped = 0;
      for (std::size_t s = 0; s < sequences_.size(); ++s)
        for (std::size_t t = 0; t < 48; ++t) {
          sum += weights[layer][point][s][t];
          largest = std::max<double>(largest, weights[layer][point][s][t]);
          largest_capped = std::max<double>(largest_capped, capped[layer][point][s][t]);
          EXPECT_EQ(none[layer][point][s][t], 1);
        }
      EXPECT_NEAR(sum / (48.0 * static_cast<double>(sequences_.size())), 1, 1e-5);
      EXPECT_GT(largest, 1.44);
      EXPECT_LT(largest_capped, largest);
    }
}

}  // namespace
}  // namespace dgq
