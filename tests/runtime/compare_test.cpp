#include "runtime/compare.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/runtime/synthetic.h"
#include "tests/support/command.h"
#include "tests/support/shared.h"
#include "tests/support/xml.h"

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

// Bins follow one another, hold every position once, and their means add up to that of all.
void expect_same_means(const std::vector<PositionBin>& bins, const Comparison& all, std::size_t last) {
  std::size_t next = 1;
  double kld = 0, reference = 0, other = 0;
  for (const PositionBin& bin : bins) {
    ASSERT_EQ(bin.first, next);
    ASSERT_GE(bin.last, bin.first);
    next = bin.last + 1;
    const auto share = static_cast<double>(next - bin.first) / static_cast<double>(last);
    kld += share * bin.kld.mean;
    reference += share * bin.nll_reference.mean;
    other += share * bin.nll_other.mean;
  }
  EXPECT_EQ(next, last + 1);
  EXPECT_NEAR(kld, all.kld_mean, 1e-12);
  EXPECT_NEAR(reference, all.reference.mean_nll, 1e-12);
  EXPECT_NEAR(other, all.other.mean_nll, 1e-12);
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
  expect_same_means(one.positions, one, 74);
  expect_same_means(one.bins, one, 74);
  EXPECT_EQ(one.positions.size(), 74u);
  EXPECT_LT(one.bins.size(), 30u);
  EXPECT_EQ(one.bins[20].kld.mean, two.bins[20].kld.mean);
  EXPECT_GT(one.bins[20].kld.standard_error, 0);
  EXPECT_EQ(run(1, 1).bins[3].kld.standard_error, 0);
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
  for (const char* member : {"position", "kld", "kld_standard_error", "nll_a", "nll_b_standard_error"})
    EXPECT_EQ(result["positions"][member].size(), 15u) << member;
  const test::ScratchFolder scratch;
  const test::Outcome plotted =
      test::run_dgq(base + " --tokens 40 --plot " + (scratch / "plot.svg").string());
  ASSERT_EQ(plotted.exit_code, 0) << plotted.err;
  std::string fault;
  const auto plot = test::XmlReader::read(test::file_text(scratch / "plot.svg"), fault);
  ASSERT_TRUE(plot) << fault;
  EXPECT_EQ(plot->all("svg", "chart").size(), 2u);
  EXPECT_EQ(plot->all("polyline").size(), 3u);
  EXPECT_EQ(plot->all("polygon", "band").size(), 3u);
  const test::Outcome refused = test::run_dgq(base + " --tokens 10");
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_NE(refused.err.find("--tokens must be at least one window of 16"), std::string::npos) << refused.err;
}

}  // namespace
}  // namespace dgq
