// The expected p values are SciPy's (1.10: stats.mannwhitneyu, stats.wilcoxon with correction), for the same samples.
#include "bench/significance.h"

#include <gtest/gtest.h>

#include <numeric>
#include <random>

namespace dgq::bench {
namespace {

TEST(MannWhitney, Exact) {
  EXPECT_NEAR(mann_whitney_p({1.1, 2.3, 3.2, 4.8, 5.1}, {2.9, 6.1, 7.3, 8.8, 9.9, 10.4}),
              0.030303030303030304, 1e-12);
  EXPECT_NEAR(mann_whitney_p({1, 2, 3, 4, 5}, {6, 7, 8, 9, 10}), 0.007936507936507936, 1e-12);
  std::vector<double> a(20), b(20);
  std::iota(a.begin(), a.end(), 0);
  std::iota(b.begin(), b.end(), 4.5);
  EXPECT_NEAR(mann_whitney_p(a, b), 0.030411256038764864, 1e-12);
  EXPECT_EQ(mann_whitney_p(a, b), mann_whitney_p(b, a));
}

TEST(MannWhitney, TiesAndEdges) {
  EXPECT_NEAR(mann_whitney_p({1, 2, 2, 3, 3, 3, 4}, {2, 3, 4, 4, 5, 5, 6, 7}), 0.025279736885893914, 1e-9);
  EXPECT_EQ(mann_whitney_p({}, {1, 2}), 1);
  EXPECT_EQ(mann_whitney_p({7, 7, 7}, {7, 7, 7}), 1);
  EXPECT_EQ(mann_whitney_p({1}, {2}), 1);
}

TEST(MannWhitney, ManySamplesTakeTheApproximation) {
  std::vector<double> a(51), b(51);
  std::iota(a.begin(), a.end(), 0);
  std::iota(b.begin(), b.end(), 10.5);
  const double p = mann_whitney_p(a, b);
  EXPECT_GT(p, 1e-4);
  EXPECT_LT(p, 0.01);
}

TEST(SignedRank, AsSciPy) {
  EXPECT_NEAR(signed_rank_p({0.5, -0.1, 0.9, 1.3, 0.7, -0.2, 0.4, 1.1, 0.6, 0.3}), 0.009765625, 1e-12);
  EXPECT_NEAR(signed_rank_p({1, 1, -1, 2, 2, -2, 3, 3, 4, 5}), 0.04030513050073345, 1e-9);
  EXPECT_EQ(signed_rank_p({}), 1);
  EXPECT_EQ(signed_rank_p({0, 0, 0}), 1);
}

TEST(Bootstrap, CoversWhatItShould) {
  // The median of 0..100 is 50; its 95 % interval by order statistics is 40 to 60.
  std::vector<double> samples(101);
  std::iota(samples.begin(), samples.end(), 0);
  const Interval interval = median_interval(samples);
  EXPECT_NEAR(interval.low, 40, 2);
  EXPECT_NEAR(interval.high, 60, 2);
  std::vector<double> twice = samples;
  for (double& value : samples) value += 100;
  for (double& value : twice) value = 2 * (value + 100);
  const Interval ratio = ratio_interval(samples, twice);
  EXPECT_LT(ratio.low, 2);
  EXPECT_GT(ratio.high, 2);
  const Interval again = ratio_interval(samples, twice);
  EXPECT_EQ(ratio.low, again.low) << "the same on every machine";
  const Interval one = median_interval({3});
  EXPECT_EQ(one.low, 3);
  EXPECT_EQ(one.high, 3);
}

}  // namespace
}  // namespace dgq::bench
