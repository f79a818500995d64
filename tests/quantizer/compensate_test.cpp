#include "quantizer/compensate.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <numeric>

#include "quantizer/cholesky.h"
#include "quantizer/descend.h"
#include "quantizer/dgq_search.h"
#include "tests/quantizer/fine_problem.h"

namespace dgq {
namespace {

using test::FineProblem;

FineLinear searched(const FineProblem& p) {
  SearchOptions options;
  options.all_of_h = false;
  return search(test::best_gemm(), p.matrix(), p.h, p.format, options, 1);
}

FineLinear compensated(const FineProblem& p, const GemmF32Kernel& gemm = test::best_gemm(), int threads = 1) {
  FineLinear r = searched(p);
  const ErrorFeedback feedback(p.h, p.k, p.format.group, 0.01, threads);
  compensate(gemm, p.matrix(), feedback, p.format, {}, threads, r);
  return r;
}

// Of one row of five columns on the grid that it has: every code there is, and each weight rounded on its own.
struct Codes {
  double least = INFINITY, rounded;
};
Codes every_code(const FineProblem& p, FineLinear r) {
  Codes out;
  for (std::size_t k = 0; k < 5; ++k)
    r.q[k] = static_cast<std::uint8_t>(
        std::clamp(std::nearbyint((p.w[k] / r.s1[0] - r.o[0]) / r.s2[0]), 0.0f, 15.0f));
  out.rounded = p.loss(r);
  std::vector<double> d(5);
  for (int code = 0; code < 1 << 20; ++code) {
    for (std::size_t k = 0; k < 5; ++k)
      d[k] = p.w[k] - static_cast<double>(r.s1[0]) * (r.s2[0] * (code >> (4 * k) & 15) + r.o[0]);
    out.least = std::min(out.least, p.form(d));
  }
  return out;
}

TEST(Compensate, CodesComeCloseToEveryChoiceThereIs) {
  double compensation = 0, optimum = 0, rounding = 0;
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    const FineProblem p(1, 5, 32, seed);
    const FineLinear r = compensated(p);
    const Codes codes = every_code(p, r);
    EXPECT_GE(p.loss(r), codes.least * (1 - 1e-6));
    compensation += p.loss(r) / p.energy(), optimum += codes.least / p.energy(),
        rounding += codes.rounded / p.energy();
  }
  std::printf("rounding %.3g, compensation %.3g, optimum %.3g\n", rounding, compensation, optimum);
  EXPECT_LT(compensation - optimum, 0.5 * (rounding - optimum));
}

TEST(Compensate, TakesMuchOfTheErrorAwayForEveryFormat) {
  for (const int bits : {4, 6})
    for (const auto& [k, group] : {std::pair<std::size_t, std::size_t>{172, 128}, {96, 32}, {256, 64}}) {
      const FineProblem p(19, k, group, k, bits);  // not whole tiles of rows
      const FineLinear before = searched(p), after = compensated(p);
      EXPECT_EQ(p.fault(after), nullptr);
      EXPECT_LT(p.loss(after), 0.75 * p.loss(before)) << bits << " " << k << " " << group;
    }
}

// With one group and no damping the sum over columns is the error itself: a brute-force check of the feedback.
TEST(ErrorFeedback, ItsSumIsTheError) {
  const FineProblem p(1, 40, 64, 3);
  const ErrorFeedback feedback(p.h, p.k, 64, 0, 1);
  const std::vector<float> random = test::random_floats(p.k, 1, 9);
  const std::vector<double> d(random.begin(), random.end());
  ASSERT_EQ(feedback.groups.size(), 1u);
  double sum = 0;
  for (std::size_t c = 0; c < p.k; ++c) {
    double v = d[feedback.order[c]];
    for (std::size_t from = c + 1; from < p.k; ++from)
      v += d[feedback.order[from]] * feedback.groups[0].inside[from * p.k + c];
    sum += feedback.weight[c] * v * v;
  }
  EXPECT_NEAR(sum, p.form(d), 1e-4 * sum);
}

TEST(ErrorFeedback, StrongGroupsAndColumnsComeFirst) {
  const FineProblem p(1, 100, 32, 4);
  const ErrorFeedback feedback(p.h, p.k, 32, 0.01, 2);
  std::vector<std::size_t> sorted = feedback.order;
  std::sort(sorted.begin(), sorted.end());
  for (std::size_t i = 0; i < p.k; ++i) ASSERT_EQ(sorted[i], i);
  double last_energy = INFINITY;
  for (const ErrorFeedback::Group& group : feedback.groups) {
    double energy = 0;
    for (std::size_t c = group.begin; c < group.begin + group.width; ++c) {
      const std::size_t column = feedback.order[c];
      EXPECT_EQ(column / 32, group.index);
      energy += p.h[column * p.k + column] / static_cast<double>(group.width);
      if (c > group.begin) {
        const std::size_t before = feedback.order[c - 1];
        EXPECT_LE(p.h[before * p.k + before], p.h[column * p.k + column]);
      }
    }
    EXPECT_LE(energy, last_energy);
    last_energy = energy;
  }
}

TEST(Compensate, RowsAndInputsOfZeros) {
  FineProblem p(3, 64, 32, 8);
  std::fill_n(p.w.begin() + 64, 64, 0.0f);
  EXPECT_EQ(p.fault(compensated(p)), nullptr);
  std::fill(p.h.begin(), p.h.end(), 0.0f);
  EXPECT_EQ(p.fault(compensated(p)), nullptr);
}

TEST(Compensate, SameBytesOnEveryKernelAndThreadCount) {
  const FineProblem p(37, 176, 32, 7);
  const FineLinear expected = compensated(p);
  test::for_each_gemm("compensate", [&](const GemmF32Kernel& row, int threads) {
    EXPECT_TRUE(test::same(compensated(p, row, threads), expected)) << row.isa << " " << threads;
  });
}

FineLinear descended(const FineProblem& p, FineLinear r, const DescendOptions& options = {},
                     const GemmF32Kernel& gemm = test::best_gemm(), int threads = 1) {
  descend(gemm, p.matrix(), p.h, p.format, options, threads, r);
  return r;
}

TEST(Descend, LowersTheErrorAndLeavesNoBetterCode) {
  for (const int bits : {4, 6}) {
    const FineProblem p(11, 96, 32, 6, bits);
    const FineLinear before = searched(p);
    FineLinear after = descended(p, before, {4, 100});
    EXPECT_EQ(p.fault(after), nullptr);
    EXPECT_LT(p.loss(after), 0.8 * p.loss(before)) << bits;
    for (std::size_t row = 0; row < p.n; ++row) {
      const double least = p.loss_of_row(row, after);
      for (std::size_t k = 0; k < p.k; ++k)
        for (const int step : {-1, 1}) {
          std::uint8_t& q = after.q[row * p.k + k];
          if (q + step < 0 || q + step > p.format.top()) continue;
          q = static_cast<std::uint8_t>(q + step);
          // Gradients are float sums that were changed step by step: a part in 10^4 of the error may be left.
          EXPECT_GE(p.loss_of_row(row, after), least * (1 - 1e-4)) << row << " " << k;
          q = static_cast<std::uint8_t>(q - step);
        }
    }
  }
}

TEST(Descend, NeverRaisesARowsError) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    const FineProblem p(9, 172, 64, seed);
    const FineLinear before = compensated(p), after = descended(p, before);
    for (std::size_t row = 0; row < p.n; ++row)
      EXPECT_LE(p.loss_of_row(row, after), p.loss_of_row(row, before) * (1 + 1e-5)) << seed << " " << row;
    EXPECT_LT(p.loss(after), p.loss(before));
  }
}

// Alone, each kind of move helps: a scale that is off is put right without touching a code, and so is an offset.
TEST(Descend, RefitsScalesAndGrids) {
  const FineProblem p(5, 64, 32, 11);
  const DescendOptions no_codes{1, 0};
  FineLinear wrong_scale = searched(p);
  const std::vector<std::uint8_t> codes = wrong_scale.q;
  for (float& s1 : wrong_scale.s1) s1 *= 1.05f;
  const FineLinear scaled = descended(p, wrong_scale, no_codes);
  EXPECT_EQ(scaled.q, codes);
  EXPECT_LT(p.loss(scaled), 0.5 * p.loss(wrong_scale));
  FineLinear wrong_offset = searched(p);
  for (std::int8_t& o : wrong_offset.o) o = static_cast<std::int8_t>(std::max(o - 5, -127));
  const FineLinear moved = descended(p, wrong_offset, no_codes);
  EXPECT_EQ(moved.q, codes);
  EXPECT_LT(p.loss(moved), 0.5 * p.loss(wrong_offset));
}

TEST(Descend, SameBytesOnEveryKernelAndThreadCount) {
  const FineProblem p(37, 80, 32, 7);
  const FineLinear before = searched(p), expected = descended(p, before);
  test::for_each_gemm("descend", [&](const GemmF32Kernel& row, int threads) {
    EXPECT_TRUE(test::same(descended(p, before, {}, row, threads), expected)) << row.isa << " " << threads;
  });
}

TEST(Cholesky, FactorsAndSolvesTheSameWithAnyThreads) {
  constexpr std::size_t kSize = 150;  // more than two blocks
  const FineProblem p(1, kSize, 32, 2);
  std::vector<double> a(p.h.begin(), p.h.end());
  for (std::size_t i = 0; i < kSize; ++i) a[i * kSize + i] += 1;
  std::vector<double> l = a, again = a;
  ASSERT_TRUE(factor_cholesky(l, kSize, 1));
  ASSERT_TRUE(factor_cholesky(again, kSize, 3));
  EXPECT_EQ(l, again);
  for (std::size_t i = 0; i < kSize; ++i)
    for (std::size_t j = 0; j <= i; ++j) {
      double sum = 0;
      for (std::size_t k = 0; k <= j; ++k) sum += l[i * kSize + k] * l[j * kSize + k];
      ASSERT_NEAR(sum, a[i * kSize + j], 1e-10 * std::sqrt(a[i * kSize + i] * a[j * kSize + j]));
    }
  std::vector<double> indefinite = {1, 0, 2, 1};
  EXPECT_FALSE(factor_cholesky(indefinite, 2, 1));
}

}  // namespace
}  // namespace dgq
