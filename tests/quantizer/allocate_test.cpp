#include "quantizer/allocate.h"

#include <gtest/gtest.h>

#include <functional>

#include "kernels/packed.h"
#include "tests/support/tiny_checkpoint.h"

namespace dgq {
namespace {

std::uint64_t bytes_of(const std::vector<std::vector<Choice>>& linears,
                       const std::vector<std::size_t>& chosen) {
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < linears.size(); ++i) bytes += linears[i][chosen[i]].bytes;
  return bytes;
}
double cost_of(const std::vector<std::vector<Choice>>& linears, const std::vector<std::size_t>& chosen) {
  double cost = 0;
  for (std::size_t i = 0; i < linears.size(); ++i) cost += linears[i][chosen[i]].cost;
  return cost;
}

LinearSensitivity even(std::size_t n, std::size_t k, double fisher) {
  return {n, k, std::vector<double>(n, fisher), std::vector<double>(k, 1.0)};
}

TEST(Choices, CostLessTheMoreBytesTheyTake) {
  const std::vector<float> w = test::random_floats(32 * 256, 0.05f, 1);
  const std::vector<Choice> all = choices({32, 256, w.data(), nullptr}, even(32, 256, 1), 2);
  ASSERT_GE(all.size(), 4u);
  EXPECT_EQ(all.front().format.bits, 4);
  EXPECT_EQ(all.front().format.group, 128u);
  EXPECT_EQ(all.front().bytes, packed_w4_bytes(32, 256, 128, false));
  EXPECT_EQ(all.back().format.bits, 8);
  EXPECT_EQ(all.back().bytes, packed_w8_bytes(32, 256, false));
  double last = INFINITY;
  for (std::size_t i = 1; i < all.size(); ++i) {
    EXPECT_GT(all[i].bytes, all[i - 1].bytes);
    const double gain =
        (all[i - 1].cost - all[i].cost) / static_cast<double>(all[i].bytes - all[i - 1].bytes);
    EXPECT_GT(gain, 0);
    EXPECT_LT(gain, last) << "a step that gains more per byte comes first";
    last = gain;
  }
}

// By the formula in quantizer/allocate.cpp, with columns that fill neither vectors nor groups.
TEST(Choices, CostIsItsFormulaForEveryNumberOfThreads) {
  constexpr std::size_t kRows = 5, kColumns = 204;
  const std::vector<float> w = test::random_floats(kRows * kColumns, 0.05f, 3);
  LinearSensitivity s = even(kRows, kColumns, 2);
  for (std::size_t c = 0; c < kColumns; ++c) s.column_weight[c] = 1 + static_cast<double>(c % 7);
  for (const int threads : {1, 3})
    for (const Choice& choice : choices({kRows, kColumns, w.data(), nullptr}, s, threads)) {
      if (choice.format.bits == 8) continue;
      double expected = 0;
      for (std::size_t n = 0; n < kRows; ++n) {
        const float* row = w.data() + n * kColumns;
        for (std::size_t c = 0; c < kColumns; ++c) {
          const std::size_t begin = c / choice.format.group * choice.format.group,
                            end = std::min(begin + choice.format.group, kColumns);
          const auto [low, high] = std::minmax_element(row + begin, row + end);
          const double range = static_cast<double>(*high) - *low,
                       step = std::max<double>(int8_unit(row, kColumns), range / choice.format.top());
          expected += s.row_fisher[n] * s.column_weight[c] * step * step / 24;
        }
      }
      EXPECT_NEAR(choice.cost, expected, 1e-12 * expected)
          << choice.format.bits << " bits, group " << choice.format.group << ", " << threads << " threads";
    }
}

// The cost is that of even rounding errors: of weights that are rounded to W8 it can be counted.
TEST(Choices, CostIsHalfTheWeightedSquareOfRounding) {
  const std::vector<float> w = test::random_floats(64 * 128, 0.05f, 2);
  LinearSensitivity s = even(64, 128, 3);
  for (std::size_t c = 0; c < 128; ++c) s.column_weight[c] = c < 64 ? 2.0 : 0.0;
  const Choice w8 = choices({64, 128, w.data(), nullptr}, s, 2).back();
  ASSERT_EQ(w8.format.bits, 8);
  double expected = 0;
  for (std::size_t n = 0; n < 64; ++n) {
    const double unit = int8_unit(w.data() + n * 128, 128);
    for (std::size_t c = 0; c < 64; ++c) {
      const double x = w[n * 128 + c], d = x - unit * std::nearbyint(x / unit);
      expected += 0.5 * 3 * 2 * d * d;
    }
  }
  EXPECT_NEAR(w8.cost, expected, 0.1 * expected);  // 4096 draws of d^2: a standard error of 1.4 %
}

TEST(Allocate, KeepsTheBudgetAndComesCloseToTheBest) {
  std::vector<std::vector<float>> weights;
  std::vector<std::vector<Choice>> linears;
  for (std::size_t i = 0; i < 5; ++i) {
    const std::size_t n = 16 + 16 * (i % 3);
    weights.push_back(test::random_floats(n * 128, 0.05f, i + 1));
    linears.push_back(choices({n, 128, weights.back().data(), nullptr},
                              even(n, 128, i == 3 ? 100 : 1 + 1.0 * static_cast<double>(i)), 1));
  }
  const std::vector<std::size_t> none(5, 0);
  const std::uint64_t least = bytes_of(linears, none);
  EXPECT_EQ(allocate(linears, least), none);
  for (const double more : {1.1, 1.3, 1.7}) {
    const auto budget = static_cast<std::uint64_t>(more * static_cast<double>(least));
    const std::vector<std::size_t> chosen = allocate(linears, budget);
    EXPECT_LE(bytes_of(linears, chosen), budget);
    double best = INFINITY, largest_step = 0;
    std::vector<std::size_t> at(5, 0);
    const std::function<void(std::size_t)> every = [&](std::size_t i) {
      if (i == 5) {
        if (bytes_of(linears, at) <= budget) best = std::min(best, cost_of(linears, at));
        return;
      }
      for (at[i] = 0; at[i] < linears[i].size(); ++at[i]) every(i + 1);
      at[i] = 0;
    };
    every(0);
    for (std::size_t i = 0; i < 5; ++i)
      if (chosen[i] + 1 < linears[i].size())
        largest_step = std::max(largest_step, linears[i][chosen[i]].cost - linears[i][chosen[i] + 1].cost);
    // Greedy on convex lists is optimal but for the last step, which may not fit.
    EXPECT_LE(cost_of(linears, chosen), best + largest_step);
    EXPECT_LT(cost_of(linears, chosen), 0.9 * cost_of(linears, none));
    EXPECT_GT(chosen[3], 0u) << "the most sensitive one gets bits first";
  }
}

}  // namespace
}  // namespace dgq
