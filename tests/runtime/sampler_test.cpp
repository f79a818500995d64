#include "runtime/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace dgq {
namespace {

using Ids = std::vector<std::int32_t>;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
const float kNan = std::numeric_limits<float>::quiet_NaN();

Ids draw(const SamplerOptions& options, const std::vector<float>& logits, int count,
         const Ids& history = {}) {
  EXPECT_TRUE(check(options)) << check(options).error().what;
  Sampler sampler(options);
  Ids ids;
  for (int i = 0; i < count; ++i) ids.push_back(*sampler.sample(logits, history));
  return ids;
}

std::vector<float> random_logits(std::size_t count, std::uint64_t seed) {
  SplitMix64 random(seed);
  std::vector<float> logits;
  for (std::size_t i = 0; i < count; ++i) logits.push_back(static_cast<float>(random.next_unit() * 20 - 10));
  return logits;
}

TEST(SplitMix64, MatchesPublishedOutputs) {
  // First outputs of Vigna's splitmix64.c for this seed, as listed on Rosetta Code (Pseudo-random numbers/Splitmix64).
  SplitMix64 random(1234567);
  for (const std::uint64_t want : {6457827717110365317u, 3203168211198807973u, 9817491932198370423u,
                                   4593380528125082431u, 16408922859458223821u})
    EXPECT_EQ(random.next(), want);
}

TEST(Sampler, GreedyTakesTheLowestOfEqualIds) {
  EXPECT_EQ(draw({}, {1, 3, 3, 2}, 1), Ids{1});
  EXPECT_EQ(draw({}, {kNan, -kInfinity, -5, kNan}, 1), Ids{2});
  EXPECT_EQ(draw({}, {1, kInfinity, 2}, 1), Ids{1});
}

// Settings that leave one token are greedy, whatever the seed.
TEST(Sampler, NarrowSettingsAreGreedy) {
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    const auto logits = random_logits(1000, seed);
    const Ids greedy = draw({}, logits, 1);
    SamplerOptions options{.temperature = 5, .seed = seed};
    SamplerOptions one = options;
    one.top_k = 1;
    EXPECT_EQ(draw(one, logits, 1), greedy);
    one = options;
    one.top_p = 1e-6f;
    EXPECT_EQ(draw(one, logits, 1), greedy);
    one = options;
    one.min_p = 1;
    EXPECT_EQ(draw(one, logits, 1), greedy);
    one = options;
    one.temperature = 1e-30f;
    EXPECT_EQ(draw(one, logits, 1), greedy);
  }
  EXPECT_EQ(draw({.temperature = 1, .top_k = 1}, {1, 3, 3, 2}, 20), Ids(20, 1));  // ties: the lower id
  EXPECT_EQ(draw({.temperature = 1, .top_p = 1e-6f}, {1, 3, 3, 2}, 20), Ids(20, 1));
}

TEST(Sampler, SeedDecides) {
  const auto logits = random_logits(500, 7);
  for (const SamplerOptions& options :
       {SamplerOptions{.temperature = 2, .seed = 1}, SamplerOptions{.temperature = 2, .top_k = 40, .seed = 1},
        SamplerOptions{.temperature = 2, .top_p = 0.9f, .min_p = 0.01f, .seed = 1}}) {
    SamplerOptions other = options;
    other.seed = 2;
    EXPECT_EQ(draw(options, logits, 50), draw(options, logits, 50));
    EXPECT_NE(draw(options, logits, 50), draw(other, logits, 50));
  }
}

// Fixed ids for a fixed seed: this is what "the same on every machine" means.
TEST(Sampler, SameIdsOnEveryMachine) {
  const auto logits = random_logits(4096, 3);
  const SamplerOptions options{.temperature = 1.3f, .top_k = 400, .top_p = 0.95f, .min_p = 0.02f, .seed = 42};
  EXPECT_EQ(draw(options, logits, 8), (Ids{2477, 2294, 1490, 299, 3329, 3587, 1420, 1393}));
  EXPECT_EQ(draw({.temperature = 3, .seed = 42}, logits, 8),
            (Ids{3029, 652, 1103, 1440, 151, 3525, 864, 3233}));
}

TEST(Sampler, TopKTopPMinPKeepWhatTheySay) {
  // Probabilities 8 : 4 : 2 : 1 (of 15) for the ids 3, 0, 2, 1.
  const float ln2 = std::log(2.0f);
  const std::vector<float> logits = {2 * ln2, 0, ln2, 3 * ln2};
  const auto seen = [&](const SamplerOptions& options) {
    std::vector<int> counts(4);
    for (const std::int32_t id : draw(options, logits, 4000)) ++counts[id];
    return std::vector<bool>{counts[0] > 0, counts[1] > 0, counts[2] > 0, counts[3] > 0};
  };
  using Seen = std::vector<bool>;
  EXPECT_EQ(seen({.temperature = 1}), (Seen{true, true, true, true}));
  EXPECT_EQ(seen({.temperature = 1, .top_k = 2}), (Seen{true, false, false, true}));
  EXPECT_EQ(seen({.temperature = 1, .top_p = 0.5f}), (Seen{false, false, false, true}));  // 8/15 reaches 0.5
  EXPECT_EQ(seen({.temperature = 1, .top_p = 0.79f}),
            (Seen{true, false, false, true}));  // 12/15 reaches 0.79
  EXPECT_EQ(seen({.temperature = 1, .top_p = 0.81f}), (Seen{true, false, true, true}));
  EXPECT_EQ(seen({.temperature = 1, .min_p = 0.4f}), (Seen{true, false, false, true}));  // 4/8 >= 0.4 > 2/8
  EXPECT_EQ(seen({.temperature = 1, .top_k = 3, .top_p = 0.85f}),
            (Seen{true, false, false, true}));  // 12/14 reaches it
}

TEST(Sampler, DrawsInProportion) {
  // 1 : 3. The standard deviation of 40000 draws is 87; six of them.
  const SamplerOptions options{.temperature = 1, .seed = 5};
  const Ids ids = draw(options, {0, std::log(3.0f)}, 40000);
  EXPECT_NEAR(static_cast<double>(std::count(ids.begin(), ids.end(), 1)), 30000, 6 * 87);
  // Temperature 0.5 squares the ratio: 1 : 9.
  const Ids colder = draw({.temperature = 0.5f, .seed = 5}, {0, std::log(3.0f)}, 40000);
  EXPECT_NEAR(static_cast<double>(std::count(colder.begin(), colder.end(), 1)), 36000, 6 * 60);
}

TEST(Sampler, PenaltyFollowsTheFormula) {
  // x / 2 for positive, x * 2 for others; seen at the threshold of a greedy choice.
  const SamplerOptions options{.repetition_penalty = 2};
  EXPECT_EQ(draw(options, {4, 2.01f}, 1, {0}), Ids{1});
  EXPECT_EQ(draw(options, {4, 1.99f}, 1, {0}), Ids{0});
  EXPECT_EQ(draw(options, {-1, -1.99f}, 1, {0}), Ids{1});
  EXPECT_EQ(draw(options, {-1, -2.01f}, 1, {0}), Ids{0});
  EXPECT_EQ(draw(options, {4, 1.99f}, 1, {0, 0, 0}), Ids{0});  // once, however often it stands there
  EXPECT_EQ(draw(options, {4, 3}, 1, {-1, 2, INT32_MAX}), Ids{0});
}

TEST(Sampler, PenaltyWindow) {
  SamplerOptions options{.repetition_penalty = 2, .repetition_window = 2};
  EXPECT_EQ(draw(options, {4, 3, 0}, 1, {0, 2, 2}), Ids{0});
  options.repetition_window = 3;
  EXPECT_EQ(draw(options, {4, 3, 0}, 1, {0, 2, 2}), Ids{1});
  options.repetition_window = 0;
  EXPECT_EQ(draw(options, {4, 3, 0}, 1, Ids(1000, 0)), Ids{1});
}

TEST(Sampler, OddLogits) {
  const SamplerOptions warm{.temperature = 1, .seed = 3};
  for (const std::int32_t id : draw(warm, {kNan, 1, -kInfinity, 1}, 100)) EXPECT_TRUE(id == 1 || id == 3);
  EXPECT_EQ(draw(warm, {0, kInfinity, 5}, 10), Ids(10, 1));
  EXPECT_EQ(draw(warm, {-3e38f, 3e38f}, 10), Ids(10, 1));
  Sampler sampler(warm);
  EXPECT_EQ(sampler.sample(std::vector<float>{kNan, -kInfinity}, {}).error().code, Errc::corrupt);
  EXPECT_EQ(sampler.sample({}, {}).error().code, Errc::corrupt);
}

TEST(Sampler, ChecksOptions) {
  const auto message = [](const SamplerOptions& options) {
    return check(options) ? "" : check(options).error().what;
  };
  EXPECT_EQ(message({}), "");
  EXPECT_EQ(message({.temperature = -0.5f}), "temperature must be from 0 (greedy) to 100, not -0.5");
  EXPECT_NE(message({.temperature = kNan}), "");
  EXPECT_NE(message({.temperature = kInfinity}), "");
  EXPECT_EQ(message({.top_k = -1}), "top-k must be 0 (off) or more, not -1");
  EXPECT_EQ(message({.top_p = 0}), "top-p must be above 0 and at most 1 (off), not 0");
  EXPECT_NE(message({.top_p = 1.5f}), "");
  EXPECT_NE(message({.min_p = 1.5f}), "");
  EXPECT_NE(message({.min_p = -0.1f}), "");
  EXPECT_NE(message({.repetition_penalty = 0}), "");
  EXPECT_NE(message({.repetition_window = -1}), "");
}

}  // namespace
}  // namespace dgq
