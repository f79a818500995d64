#include "runtime/compare.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/runtime/synthetic.h"
#include "tests/support/command.h"
#include "tests/support/shared.h"

namespace dgq {
namespace {

using test::small_config;
using test::SyntheticModel;

std::vector<std::int32_t> count_up(std::size_t count) {
  std::vector<std::int32_t> tokens(count);
  for (std::size_t i = 0; i < count; ++i) tokens[i] = static_cast<std::int32_t>(i * 7 % 301);
  return tokens;
}

TEST(DistanceAt, MatchesTheFormulaInDouble) {
  const std::vector<float> a = {1, 3, -2, 0.5f}, b = {1.5f, 2, -2.5f, 2.25f};
  const auto softmax = [](const std::vector<float>& x) {
    std::vector<double> p;
    double sum = 0;
    for (const float v : x) p.push_back(std::exp(static_cast<double>(v))), sum += p.back();
    for (double& v : p) v /= sum;
    return p;
  };
  const std::vector<double> p = softmax(a), r = softmax(b);
  double kld = 0;
  for (std::size_t v = 0; v < 4; ++v) kld += p[v] * std::log(p[v] / r[v]);
  const PositionDistance d = distance_at(a, b, 2);
  EXPECT_NEAR(d.kld, kld, 1e-13);
  EXPECT_NEAR(d.nll_reference, -std::log(p[2]), 1e-13);
  EXPECT_NEAR(d.nll_other, -std::log(r[2]), 1e-13);
  EXPECT_NEAR(d.top_shift, r[1] - p[1], 1e-13);
  EXPECT_FALSE(d.same_top);
  const PositionDistance same = distance_at(a, a, 2);
  EXPECT_EQ(same.kld, 0);
  EXPECT_EQ(same.top_shift, 0);
  EXPECT_TRUE(same.same_top);
}

TEST(DistanceAt, ImprobableTokensAddNothingAndBadLogitsAreNaN) {
  EXPECT_EQ(distance_at(std::vector<float>{0, -3e38f}, std::vector<float>{0, -1e38f}, 0).kld, 0);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), INFINITY, -INFINITY}) {
    EXPECT_TRUE(std::isnan(distance_at(std::vector<float>{0, bad}, std::vector<float>{0, 1}, 0).kld));
    EXPECT_TRUE(std::isnan(distance_at(std::vector<float>{0, 1}, std::vector<float>{0, bad}, 0).kld));
  }
}

TEST(Compare, AgreesWithPerplexityAndIsTheSameForEveryThreadCount) {
  const SyntheticModel plain(small_config(), false), quantized(small_config(), true);
  const Kernels kernels = *select_kernels("");
  const auto tokens = count_up(230);
  const auto run = [&](int threads, std::size_t windows) {
    Decoder a(plain.config, kernels, threads), b(quantized.config, kernels, threads);
    return *compare_models({plain.config, plain.weights, a, KvType::f32},
                           {quantized.config, quantized.weights, b, KvType::int8}, tokens, 75, windows,
                           threads);
  };
  const Comparison one = run(1, 0), two = run(2, 0);
  EXPECT_EQ(one.reference.windows, 3u);
  EXPECT_EQ(one.reference.tokens, 3u * 74);
  EXPECT_GT(one.kld_mean, 0);
  EXPECT_GT(one.kld_99, one.kld_median);
  EXPECT_GE(one.kld_max, one.kld_99);
  EXPECT_GT(one.kld_standard_error, 0);
  EXPECT_EQ(one.kld_mean, two.kld_mean);
  EXPECT_EQ(one.top_shift_rms, two.top_shift_rms);
  EXPECT_EQ(run(1, 2).reference.windows, 2u);
  Decoder decoder(quantized.config, kernels, 1);
  const auto alone = *perplexity(quantized.config, quantized.weights, decoder, KvType::int8, tokens, 75, 0);
  EXPECT_NEAR(one.other.mean_nll, alone.mean_nll, 1e-12);
}

TEST(Compare, RefusesOtherVocabularies) {
  const SyntheticModel a(small_config(), false);
  ModelConfig other = small_config();
  other.vocab = 300;
  const SyntheticModel b(other, false);
  const Kernels kernels = *select_kernels("");
  Decoder x(a.config, kernels, 1), y(b.config, kernels, 1);
  const auto refused = compare_models({a.config, a.weights, x, KvType::f32},
                                      {b.config, b.weights, y, KvType::f32}, count_up(20), 10, 0, 1);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::invalid);
}

TEST(CompareCommand, ACheckpointIsNoDistanceFromItself) {
  const auto demo = test::repository_file("models/demo").string();
  const std::string base =
      "eval compare " + demo + " " + demo + " --text " + demo + "/sample.txt --context 16";
  const test::Outcome json = test::run_dgq(base + " --tokens 40 --json");
  ASSERT_EQ(json.exit_code, 0) << json.err;
  const Json result = Json::parse(json.out);
  EXPECT_EQ(result["kld"]["mean"], 0.0);
  EXPECT_EQ(result["same_top"]["share"], 1.0);
  EXPECT_EQ(result["windows"], 2);
  EXPECT_EQ(result["a"]["perplexity"], result["b"]["perplexity"]);
  const test::Outcome refused = test::run_dgq(base + " --tokens 10");
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_NE(refused.err.find("--tokens must be at least one window of 16"), std::string::npos) << refused.err;
}

}  // namespace
}  // namespace dgq
