#include "quantizer/dgq_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "quantizer/round_w8.h"
#include "tests/quantizer/fine_problem.h"

namespace dgq {
namespace {

using test::FineProblem;
using test::random_floats;

FineLinear search(const FineProblem& p, const SearchOptions& options = {},
                  const GemmF32Kernel& gemm = test::best_gemm(), int threads = 1) {
  return search(gemm, p.matrix(), p.h, p.format, options, threads);
}

SearchOptions by_group() {
  SearchOptions options;
  options.all_of_h = false;
  return options;
}

TEST(DgqSearch, LossAndEnergyAreThoseInDouble) {
  for (const auto& [k, group] :
       {std::pair<std::size_t, std::size_t>{172, 128}, {64, 128}, {96, 32}, {256, 64}}) {
    const FineProblem p(21, k, group, k);
    const FineLinear r = search(p);
    EXPECT_EQ(p.fault(r), nullptr);
    // Float sums of k^2 products: relative 2^-24 * log2(k^2) each, against cancellation of about 100 between them.
    const double loss = output_loss(test::best_gemm(), p.matrix(), p.h, p.format, r, 2);
    EXPECT_NEAR(loss, p.loss(r), 1e-4 * loss) << k;
    const double energy = output_energy(test::best_gemm(), p.matrix(), p.h, 2);
    EXPECT_NEAR(energy, p.energy(), 1e-4 * energy) << k;
  }
}

TEST(DgqSearch, BeatsMinMaxForEveryFormat) {
  for (const int bits : {4, 6})
    for (const std::size_t group : {32u, 64u, 128u}) {
      const FineProblem p(12, 172, group, 5, bits);
      const FineLinear plain = round_min_max(p.matrix(), p.format, 1), all = search(p),
                       blocks = search(p, by_group());
      for (const FineLinear* r : {&plain, &all, &blocks}) EXPECT_EQ(p.fault(*r), nullptr);
      EXPECT_LT(p.loss(all), 0.8 * p.loss(plain)) << bits << " " << group;
      EXPECT_LT(p.loss(blocks), p.loss(plain)) << bits << " " << group;
      EXPECT_LT(p.loss(all), p.loss(blocks)) << bits << " " << group;
    }
}

// Without H it is the identity, to the last bit.
TEST(DgqSearch, WithoutInputsWeightsAreJudged) {
  for (const bool all_of_h : {true, false}) {
    FineProblem p(9, 172, 32, 6);
    p.h.assign(p.k * p.k, 0);
    for (std::size_t i = 0; i < p.k; ++i) p.h[i * p.k + i] = 1;
    SearchOptions options;
    options.all_of_h = all_of_h;
    const FineLinear with = search(p, options),
                     without = search(test::best_gemm(), p.matrix(), {}, p.format, options, 2);
    EXPECT_EQ(without.q, with.q);
    EXPECT_EQ(without.s2, with.s2);
    EXPECT_EQ(without.o, with.o);
    EXPECT_EQ(without.s1, with.s1);
    EXPECT_NEAR(output_loss(test::best_gemm(), p.matrix(), {}, p.format, without, 1), p.loss(without),
                1e-6 * p.energy());
    EXPECT_NEAR(output_energy(test::best_gemm(), p.matrix(), {}, 1), p.energy(), 1e-6 * p.energy());
    EXPECT_LT(p.loss(without), p.loss(round_min_max(p.matrix(), p.format, 1)));
  }
}

TEST(RoundMinMax, IsItsFormula) {
  for (const int bits : {4, 6}) {
    const FineProblem p(3, 64, 32, 5, bits);
    const double top = p.format.top();
    const FineLinear r = round_min_max(p.matrix(), p.format, 2);
    for (std::size_t n = 0; n < p.n; ++n) {
      const float* w = p.w.data() + n * p.k;
      double largest = 0;
      for (std::size_t k = 0; k < p.k; ++k) largest = std::max(largest, std::fabs(static_cast<double>(w[k])));
      const double s1 = largest / 127;
      EXPECT_NEAR(r.s1[n], s1, 1e-6 * s1);
      for (std::size_t g = 0; g < 2; ++g) {
        const auto [low, high] = std::minmax_element(w + 32 * g, w + 32 * (g + 1));
        const double s2 = std::clamp(std::nearbyint((*high - *low) / top / s1), 1.0, std::floor(254 / top));
        const double o = std::clamp(std::nearbyint(*low / s1), -127.0, 127 - top * s2);
        EXPECT_EQ(r.s2[n * 2 + g], s2);
        EXPECT_EQ(r.o[n * 2 + g], o);
        for (std::size_t k = 32 * g; k < 32 * (g + 1); ++k)
          EXPECT_EQ(r.q[n * p.k + k], std::clamp(std::nearbyint((w[k] / s1 - o) / s2), 0.0, top));
      }
    }
  }
}

// All of s1 on the search's grid, s2 and o; q rounded. One row, one group, so that this is every choice there is.
double least_loss(const FineProblem& p) {
  double largest = 0, best = INFINITY;
  for (float w : p.w) largest = std::max(largest, std::fabs(static_cast<double>(w)));
  std::vector<double> d(p.w.begin(), p.w.end());
  const SearchOptions grid;
  for (std::size_t c = 0; c < grid.coarse; ++c) {
    const double s1 = largest / 127 * (grid.coarse_first + grid.coarse_step * static_cast<double>(c));
    for (int s2 = 1; s2 <= 16; ++s2)
      for (int o = -127; o <= 127 - 15 * s2; ++o) {
        for (std::size_t k = 0; k < p.k; ++k) {
          const double q = std::clamp(std::nearbyint((p.w[k] / s1 - o) / s2), 0.0, 15.0);
          d[k] = p.w[k] - s1 * (s2 * q + o);
        }
        best = std::min(best, p.form(d));
      }
  }
  return best;
}

TEST(DgqSearch, ComesCloseToEveryChoiceThereIs) {
  double searched = 0, optimum = 0, plain = 0;
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    const FineProblem p(1, 16, 32, seed);
    const double loss = p.loss(search(p)), best = least_loss(p), energy = p.energy();
    EXPECT_GE(loss, best * (1 - 1e-3)) << "better than the best: the loss is not the loss";
    searched += loss / energy, optimum += best / energy;
    plain += p.loss(round_min_max(p.matrix(), p.format, 1)) / energy;
  }
  std::printf("min-max %.5f, search %.5f, optimum %.5f\n", plain / 6, searched / 6, optimum / 6);
  EXPECT_LT(searched - optimum, 0.5 * (plain - optimum)) << "less than half of the way from min-max";
}

TEST(DgqSearch, InvariantsHoldForEveryKindOfRow) {
  FineProblem p(9, 128, 32, 3);
  const auto row = [&](std::size_t n) { return p.w.data() + n * p.k; };
  std::fill_n(row(0), p.k, 0.0f);
  std::fill_n(row(1), p.k, 0.25f);
  std::fill_n(row(2), p.k, -3e38f);
  for (std::size_t k = 0; k < p.k; ++k) row(3)[k] *= 1e30f;
  for (std::size_t k = 0; k < p.k; ++k) row(4)[k] *= 1e-38f;
  row(5)[40] = 100;  // one outlier: the other groups are left with few levels
  row(6)[40] = -100;
  std::fill_n(row(7) + 32, 32, 0.0f);
  for (std::size_t k = 0; k < p.k; ++k) row(8)[k] = k % 2 ? 3e38f : -3e38f;
  for (const SearchOptions& options : {SearchOptions(), by_group()}) {
    const FineLinear r = search(p, options);
    EXPECT_EQ(p.fault(r), nullptr) << p.fault(r);
    EXPECT_EQ(r.s1[0], 0);
    for (std::size_t k = 0; k < p.k; ++k) {
      EXPECT_NEAR(r.s1[1] * static_cast<float>(r.s2[4] * r.q[p.k + k] + r.o[4]), 0.25f, 0.25f / 64);
      EXPECT_NEAR(r.s1[7] * static_cast<float>(r.s2[29] * r.q[7 * p.k + 32] + r.o[29]), 0, r.s1[7]);
    }
  }
}

TEST(DgqSearch, SameBytesOnEveryKernelAndThreadCount) {
  const FineProblem p(10, 80, 32, 7);
  for (const SearchOptions& options : {SearchOptions(), by_group()}) {
    const FineLinear expected = search(p, options);
    test::for_each_gemm("search", [&](const GemmF32Kernel& row, int threads) {
      EXPECT_TRUE(test::same(search(p, options, row, threads), expected)) << row.isa << " " << threads;
    });
  }
}

TEST(Gram, IsTheSumOfProductsHoweverCut) {
  constexpr std::size_t kRows = 2100, kColumns = 200;  // more than one block of rows and one tile of columns
  std::vector<float> x = test::activations(kRows, kColumns, 1);
  for (std::size_t i = 0; i < kRows; ++i)
    x[i * kColumns + 5] *= 1000;  // an outlier takes nothing from the others
  Gram whole(test::best_kernels(), kColumns, 1), cut(*select_kernels("ref"), kColumns, 2);
  whole.add(x.data(), kRows);
  for (std::size_t i = 0; i < kRows;) {
    const std::size_t rows = std::min<std::size_t>(1 + i % 37, kRows - i);
    cut.add(x.data() + i * kColumns, rows);
    i += rows;
  }
  const std::vector<float> h = whole.finish();
  EXPECT_EQ(h, cut.finish());
  std::vector<double> largest(kColumns), size(kColumns);
  for (std::size_t i = 0; i < kRows * kColumns; ++i) {
    largest[i % kColumns] = std::max<double>(largest[i % kColumns], std::fabs(x[i]));
    size[i % kColumns] += std::fabs(x[i]);
  }
  for (std::size_t a = 0; a < kColumns; ++a)
    for (std::size_t b = 0; b < kColumns; ++b) {
      double sum = 0;
      for (std::size_t i = 0; i < kRows; ++i)
        sum += static_cast<double>(x[i * kColumns + a]) * x[i * kColumns + b];
      // Each x is within half a step, its column's largest / 127, of what is multiplied.
      const double bound = (largest[a] * size[b] + largest[b] * size[a]) / 254 * 1.01;
      ASSERT_NEAR(h[a * kColumns + b], sum, bound) << a << " " << b;
      ASSERT_NEAR(h[a * kColumns + b], sum, 0.002 * std::sqrt(h[a * kColumns + a] * h[b * kColumns + b]));
      ASSERT_EQ(h[a * kColumns + b], h[b * kColumns + a]);
    }
}

TEST(RoundW8, RoundsEachRowToItsOwnLevels) {
  std::vector<float> w = random_floats(3 * 50, 1, 4);
  std::fill_n(w.data() + 50, 50, 0.0f);
  const CoarseLinear r = round_w8({3, 50, w.data(), nullptr}, 2);
  double error = 0, energy = 0;
  for (std::size_t n = 0; n < 3; ++n) {
    int largest = 0;
    for (std::size_t k = n * 50; k < (n + 1) * 50; ++k) {
      const double d = w[k] - static_cast<double>(r.s1[n]) * r.q[k];
      EXPECT_LE(std::fabs(d), 0.5001 * r.s1[n]);
      largest = std::max(largest, std::abs(static_cast<int>(r.q[k])));
      error += d * d, energy += static_cast<double>(w[k]) * w[k];
    }
    EXPECT_EQ(largest, n == 1 ? 0 : 127);
  }
  EXPECT_NEAR(r.error, error / energy, 1e-4 * r.error);
}

}  // namespace
}  // namespace dgq
