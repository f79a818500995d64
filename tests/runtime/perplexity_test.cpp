#include "runtime/perplexity.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/runtime/synthetic.h"
#include "tests/support/shared.h"

namespace dgq {
namespace {

using test::small_config;
using test::SyntheticModel;

Kernels best() { return *select_kernels(""); }

std::vector<std::int32_t> count_up(std::size_t count) {
  std::vector<std::int32_t> tokens(count);
  for (std::size_t i = 0; i < count; ++i) tokens[i] = static_cast<std::int32_t>(i * 7 % 301);
  return tokens;
}

TEST(NegativeLogLikelihood, MatchesDouble) {
  const std::vector<float> logits = {1, -2, 30, 29.5f, -1000};
  double sum = 0;
  for (const float x : logits) sum += std::exp(static_cast<double>(x) - 30);
  for (std::int32_t i = 0; i < 5; ++i)
    EXPECT_NEAR(negative_log_likelihood(logits, i), 30 + std::log(sum) - logits[static_cast<std::size_t>(i)],
                1e-12);
}

TEST(NegativeLogLikelihood, NotFiniteIsNaN) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), INFINITY, -INFINITY}) {
    EXPECT_TRUE(std::isnan(negative_log_likelihood(std::vector<float>{0, bad, 1}, 0)));
    EXPECT_TRUE(std::isnan(negative_log_likelihood(std::vector<float>{bad, 0, 1}, 1)));
  }
}

TEST(Perplexity, ModelThatKnowsNothingHasThatOfTheVocabulary) {
  SyntheticModel model(small_config(), false);
  const std::vector<float> zeros(301 * 72);
  model.weights.head = F32Matrix{301, 72, zeros.data(), nullptr};
  Decoder decoder(model.config, best(), 1);
  std::size_t calls = 0;
  const auto result = perplexity(model.config, model.weights, decoder, KvType::int8, count_up(110), 25, 0,
                                 [&](std::size_t done, std::size_t total) {
                                   EXPECT_EQ(done, ++calls);
                                   EXPECT_EQ(total, 4u);
                                 });
  ASSERT_TRUE(result) << result.error().what;
  EXPECT_EQ(calls, 4u);
  EXPECT_EQ(result->windows, 4u);
  EXPECT_EQ(result->tokens, 4u * 24);
  EXPECT_NEAR(result->perplexity, 301, 1e-9);
  EXPECT_NEAR(result->standard_error, 0, 1e-9);
}

TEST(Perplexity, WindowsAreScoredFromScratchAndAveraged) {
  const SyntheticModel model(small_config(), false);
  Decoder decoder(model.config, best(), 1);
  const auto tokens = count_up(200);
  const auto run = [&](std::span<const std::int32_t> part, std::size_t windows) {
    return *perplexity(model.config, model.weights, decoder, KvType::f32, part, 100, windows);
  };
  const double first = run(std::span(tokens).first(100), 0).mean_nll,
               second = run(std::span(tokens).last(100), 0).mean_nll;
  const PerplexityResult both = run(tokens, 0);
  EXPECT_DOUBLE_EQ(both.mean_nll, (first + second) / 2);
  EXPECT_NEAR(both.perplexity, std::exp(both.mean_nll), 1e-9 * both.perplexity);
  // Two values: the standard error of their mean is half their distance.
  EXPECT_NEAR(both.standard_error, both.perplexity * std::abs(first - second) / 2, 1e-9);
  EXPECT_EQ(run(tokens, 1).mean_nll, first);
  // Not the same as one long window, or this test could not fail.
  EXPECT_NE(perplexity(model.config, model.weights, decoder, KvType::f32, tokens, 200, 0)->mean_nll,
            both.mean_nll);
}

TEST(Perplexity, RefusesBadInput) {
  SyntheticModel model(small_config(), false);
  Decoder decoder(model.config, best(), 1);
  const auto run = [&](const std::vector<std::int32_t>& tokens, std::size_t context) {
    return perplexity(model.config, model.weights, decoder, KvType::f32, tokens, context, 0);
  };
  EXPECT_EQ(run(count_up(9), 10).error().code, Errc::invalid);
  EXPECT_EQ(run(count_up(9), 1).error().code, Errc::invalid);
  EXPECT_EQ(run({1, 2, 301, 4}, 2).error().code, Errc::invalid);
  EXPECT_EQ(run({1, 2, -1, 4}, 2).error().code, Errc::invalid);
  std::vector<float> norm(72, 1.0f);
  norm[5] = std::numeric_limits<float>::quiet_NaN();
  model.weights.final_norm = norm.data();
  EXPECT_EQ(run(count_up(20), 10).error().code, Errc::corrupt);
}

TEST(EncodeDocuments, SeparatorStandsBeforeEachDocument) {
  const auto tokenizer = Tokenizer::read(test::repository_file("models/demo/tokenizer.json"));
  ASSERT_TRUE(tokenizer) << tokenizer.error().what;
  const auto king = tokenizer->encode("The king\n\nslept.", true),
             queen = tokenizer->encode(" The queen", true);
  std::vector<std::int32_t> expected = {0};
  expected.insert(expected.end(), king->begin(), king->end());
  expected.push_back(0);
  expected.insert(expected.end(), queen->begin(), queen->end());
  EXPECT_EQ(*encode_documents(*tokenizer, "The king\n\nslept.\n<|endoftext|>\n The queen"), expected);
  EXPECT_EQ(*encode_documents(*tokenizer, "The king\n\nslept.<|endoftext|> The queen<|endoftext|>"),
            expected);
  EXPECT_TRUE(encode_documents(*tokenizer, "")->empty());
  EXPECT_FALSE(encode_documents(*tokenizer, "\xff\xfe"));
}

}  // namespace
}  // namespace dgq
