#include "bench/synthetic_model.h"

#include <gtest/gtest.h>

#include "bench/shapes.h"
#include "bench/statistics.h"
#include "tests/runtime/synthetic.h"

namespace dgq::bench {
namespace {

ModelConfig odd_config() {
  ModelConfig config = test::small_config();
  config.qkv_bias = config.o_bias = true;
  config.tied_head = false;
  return config;
}

template <class Matrix>
void expect_valid(const Linear& linear, std::size_t n, std::size_t k, bool bias) {
  ASSERT_TRUE(std::holds_alternative<Matrix>(linear));
  const auto& w = std::get<Matrix>(linear);
  EXPECT_EQ(w.n, n);
  EXPECT_EQ(w.k, k);
  EXPECT_EQ(w.bias != nullptr, bias);
  EXPECT_EQ(find_fault(w), nullptr) << n << " x " << k;
}

template <class Most, class Sensitive>
void expect_recipe(const Recipe& recipe, int threads) {
  const ModelConfig c = odd_config();
  const auto model = SyntheticModel::make(c, recipe, threads);
  ASSERT_TRUE(model) << model.error().what;
  const ModelWeights& weights = model->weights();
  expect_valid<W8Matrix>(weights.embedding, c.vocab, c.hidden, false);
  expect_valid<W8Matrix>(weights.head, c.vocab, c.hidden, false);
  ASSERT_EQ(weights.layers.size(), c.layers);
  for (const LayerWeights& layer : weights.layers) {
    expect_valid<Most>(layer.q, 60, c.hidden, true);
    expect_valid<Sensitive>(layer.k, 20, c.hidden, true);
    expect_valid<Sensitive>(layer.v, 20, c.hidden, true);
    expect_valid<Most>(layer.o, c.hidden, 60, true);
    expect_valid<Most>(layer.gate, c.ffn, c.hidden, false);
    expect_valid<Most>(layer.up, c.ffn, c.hidden, false);
    expect_valid<Sensitive>(layer.down, c.hidden, c.ffn, false);
    EXPECT_EQ(std::get<Sensitive>(layer.down).group, recipe.group);
  }
}

TEST(SyntheticModel, HoldsTheInvariants) {
  for (const std::size_t group : {32, 64, 128})
    for (const int threads : {1, 2}) {
      expect_recipe<W4Matrix, W4Matrix>({group, Recipe::w4}, threads);
      expect_recipe<W6Matrix, W6Matrix>({group, Recipe::w6}, threads);
      expect_recipe<W4Matrix, W6Matrix>({group, Recipe::mixed}, threads);
    }
}

TEST(SyntheticModel, SizesAreThoseOfTheModelsNamed) {
  const struct {
    const char* name;
    double parameters;  // as their model cards say
  } kModels[] = {
      {"smollm2-135m", 134.5e6}, {"llama-3.2-1b", 1.236e9}, {"llama2-7b", 6.738e9}, {"qwen2.5-0.5b", 494e6}};
  for (const auto& model : kModels) {
    const auto shape = load_shape(model.name);
    ASSERT_TRUE(shape) << shape.error().what;
    const ModelSize size = synthetic_model_size(shape->config, {});
    EXPECT_NEAR(static_cast<double>(size.parameters) / model.parameters, 1, 0.001) << model.name;
    EXPECT_GT(size.bytes * 2, size.parameters);
  }
}

TEST(SyntheticModel, AModelThatDoesNotFitIsRefused) {
  ModelConfig config = odd_config();
  config.hidden = config.ffn = 65536;
  config.layers = 1024;
  const auto model = SyntheticModel::make(config, {}, 1);
  ASSERT_FALSE(model);
  EXPECT_NE(model.error().what.find("of memory"), std::string::npos) << model.error().what;
}

TEST(Shapes, AllThatAreBuiltInParse) {
  for (const std::string& name : shape_names()) {
    const auto shape = load_shape(name);
    EXPECT_TRUE(shape) << shape.error().what;
  }
  EXPECT_GE(shape_names().size(), 5u);
}

TEST(Statistics, OfKnownSamples) {
  EXPECT_DOUBLE_EQ(mean({1, 2, 6}), 3);
  EXPECT_DOUBLE_EQ(median({6, 1, 2}), 2);
  EXPECT_DOUBLE_EQ(median({4, 1, 2, 8}), 3);
  EXPECT_DOUBLE_EQ(deviation({2, 4, 6}), 2);
  EXPECT_DOUBLE_EQ(deviation({5}), 0);
}

}  // namespace
}  // namespace dgq::bench
