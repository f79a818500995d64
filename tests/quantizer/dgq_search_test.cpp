#include "quantizer/dgq_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/table.h"
#include "quantizer/gram.h"
#include "tests/support/not_covered.h"
#include "tests/support/tiny_checkpoint.h"

namespace dgq {
namespace {

using test::random_floats;

const GemmF32Kernel& best_gemm() {
  static const Kernels kernels = *select_kernels("");
  return *kernels.gemm_f32;
}

// Rows that are correlated, with a few large channels, as activations are.
std::vector<float> activations(std::size_t m, std::size_t k, std::uint64_t seed) {
  std::vector<float> x = random_floats(m * k, 1, seed);
  for (std::size_t i = 0; i < m; ++i)
    for (std::size_t j = 0; j < k; ++j) {
      if (j % 8) x[i * k + j] += 0.7f * x[i * k + j - 1];
      if (j % 29 == 3) x[i * k + j] *= 12;
    }
  return x;
}

std::vector<float> statistics(std::size_t m, std::size_t k, std::uint64_t seed) {
  Gram gram(best_gemm(), k, 1);
  gram.add(activations(m, k, seed).data(), m);
  return gram.finish();
}

struct Problem {
  std::size_t n, k, group;
  std::vector<float> w, h;
  Problem(std::size_t rows, std::size_t columns, std::size_t g, std::uint64_t seed)
      : n(rows),
        k(columns),
        group(g),
        w(random_floats(n * k, 0.05f, seed)),
        h(statistics(2 * k, k, seed + 1)) {}
  QuantizedLinear search(const GemmF32Kernel& gemm = best_gemm(), int threads = 1) const {
    return search_w4(gemm, {n, k, w.data(), nullptr}, h, group, threads);
  }
};

// tr(d H d^T) / tr(w H w^T) in double from what is stored.
double error_of(const Problem& p, const QuantizedLinear& r) {
  const std::size_t groups = (p.k + p.group - 1) / p.group;
  double error = 0, energy = 0;
  std::vector<double> d(p.k);
  for (std::size_t n = 0; n < p.n; ++n) {
    for (std::size_t k = 0; k < p.k; ++k) {
      const std::size_t f = n * groups + k / p.group;
      d[k] = p.w[n * p.k + k] - static_cast<double>(r.s1[n]) * (r.s2[f] * r.q[n * p.k + k] + r.o[f]);
    }
    for (std::size_t i = 0; i < p.k; ++i)
      for (std::size_t j = 0; j < p.k; ++j) {
        const double h = p.h[i * p.k + j];
        error += d[i] * h * d[j];
        energy += p.w[n * p.k + i] * h * p.w[n * p.k + j];
      }
  }
  return error / energy;
}

std::vector<std::byte> pack(const Problem& p, const QuantizedLinear& r) {
  std::vector<std::byte> section(packed_w4_bytes(p.n, p.k, p.group, false));
  pack_w4({r.q.data(), r.s2.data(), r.o.data(), r.s1.data(), nullptr}, p.n, p.k, p.group, section.data());
  return section;
}

const char* fault(const Problem& p, const QuantizedLinear& r) {
  const std::vector<std::byte> section = pack(p, r);
  return find_fault(bind_w4(section.data(), p.n, p.k, p.group, false));
}

TEST(DgqSearch, ReportsTheErrorOfWhatItStores) {
  for (const auto& [k, group] :
       {std::pair<std::size_t, std::size_t>{172, 128}, {64, 128}, {96, 32}, {256, 64}}) {
    const Problem p(12, k, group, k);
    const QuantizedLinear r = p.search();
    EXPECT_EQ(fault(p, r), nullptr);
    // Float sums of k^2 products: relative 2^-24 * log2(k^2) each, against cancellation of about 100 between them.
    EXPECT_NEAR(r.error, error_of(p, r), 1e-4 * r.error) << k;
    EXPECT_LT(r.error, r.error_minmax) << k;
  }
}

TEST(DgqSearch, PlainMinMaxIsItsFormula) {
  const Problem p(3, 64, 32, 5);
  QuantizedLinear plain = p.search();
  for (std::size_t n = 0; n < p.n; ++n) {
    const float* w = p.w.data() + n * p.k;
    double largest = 0;
    for (std::size_t k = 0; k < p.k; ++k) largest = std::max(largest, std::fabs(static_cast<double>(w[k])));
    plain.s1[n] = static_cast<float>(largest / 127);
    for (std::size_t g = 0; g < 2; ++g) {
      const auto [low, high] = std::minmax_element(w + 32 * g, w + 32 * (g + 1));
      const double s2 = std::clamp(std::nearbyint((*high - *low) / 15.0 / plain.s1[n]), 1.0, 16.0);
      const double o =
          std::clamp(std::nearbyint(*low / static_cast<double>(plain.s1[n])), -127.0, 127 - 15 * s2);
      plain.s2[n * 2 + g] = static_cast<std::uint8_t>(s2);
      plain.o[n * 2 + g] = static_cast<std::int8_t>(o);
      for (std::size_t k = 32 * g; k < 32 * (g + 1); ++k)
        plain.q[n * p.k + k] =
            static_cast<std::uint8_t>(std::clamp(std::nearbyint((w[k] / plain.s1[n] - o) / s2), 0.0, 15.0));
    }
  }
  EXPECT_NEAR(p.search().error_minmax, error_of(p, plain), 1e-3 * plain.error_minmax);
}

// All of s1 on the search's grid, s2 and o; q rounded. One row, one group, so that this is every choice there is.
double best_error(const Problem& p) {
  double largest = 0, best = INFINITY, energy = 0;
  for (float w : p.w) largest = std::max(largest, std::fabs(static_cast<double>(w)));
  const auto form = [&](const std::vector<double>& d) {
    double sum = 0;
    for (std::size_t i = 0; i < p.k; ++i)
      for (std::size_t j = 0; j < p.k; ++j) sum += d[i] * p.h[i * p.k + j] * d[j];
    return sum;
  };
  std::vector<double> d(p.w.begin(), p.w.end());
  energy = form(d);
  for (std::size_t c = 0; c < kSearchGrid.coarse; ++c) {
    const double s1 =
        largest / 127 * (kSearchGrid.coarse_first + kSearchGrid.coarse_step * static_cast<double>(c));
    for (int s2 = 1; s2 <= 16; ++s2)
      for (int o = -127; o <= 127 - 15 * s2; ++o) {
        for (std::size_t k = 0; k < p.k; ++k) {
          const double q = std::clamp(std::nearbyint((p.w[k] / s1 - o) / s2), 0.0, 15.0);
          d[k] = p.w[k] - s1 * (s2 * q + o);
        }
        best = std::min(best, form(d));
      }
  }
  return best / energy;
}

TEST(DgqSearch, ComesCloseToEveryChoiceThereIs) {
  double searched = 0, optimum = 0, plain = 0;
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    const Problem p(1, 16, 32, seed);
    const QuantizedLinear r = p.search();
    const double best = best_error(p);
    EXPECT_GE(r.error, best * (1 - 1e-3)) << "better than the best: the error is not the error";
    searched += r.error, optimum += best, plain += r.error_minmax;
  }
  std::printf("min-max %.5f, search %.5f, optimum %.5f\n", plain / 6, searched / 6, optimum / 6);
  EXPECT_LT(searched - optimum, 0.5 * (plain - optimum)) << "less than half of the way from min-max";
}

TEST(DgqSearch, InvariantsHoldForEveryKindOfRow) {
  Problem p(9, 128, 32, 3);
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
  const QuantizedLinear r = p.search();
  EXPECT_EQ(fault(p, r), nullptr) << fault(p, r);
  EXPECT_EQ(r.s1[0], 0);
  for (std::size_t k = 0; k < p.k; ++k) {
    EXPECT_NEAR(r.s1[1] * static_cast<float>(r.s2[4] * r.q[p.k + k] + r.o[4]), 0.25f, 0.25f / 64);
    EXPECT_NEAR(r.s1[7] * static_cast<float>(r.s2[29] * r.q[7 * p.k + 32] + r.o[29]), 0, r.s1[7]);
  }
  const std::vector<float> zeros(4 * 64), h(64 * 64);
  EXPECT_EQ(search_w4(best_gemm(), {4, 64, zeros.data(), nullptr}, h, 64, 1).error, 0);
}

bool same(const QuantizedLinear& a, const QuantizedLinear& b) {
  return a.q == b.q && a.s2 == b.s2 && a.o == b.o && a.s1 == b.s1 && a.error == b.error &&
         a.error_minmax == b.error_minmax;
}

TEST(DgqSearch, SameBytesOnEveryKernelAndThreadCount) {
  const Problem p(10, 80, 32, 7);
  const QuantizedLinear expected = p.search();
  for (const GemmF32Kernel& row : gemm_f32_kernels()) {
    if ((row.needs & cpu_features()) != row.needs) {
      test::not_covered(std::string("search with gemm_f32 ") + row.isa);
      continue;
    }
    for (int threads : {1, 2, 3})
      EXPECT_TRUE(same(p.search(row, threads), expected)) << row.isa << " " << threads;
  }
}

TEST(Gram, IsTheSumOfProductsHoweverCut) {
  constexpr std::size_t kRows = 700, kColumns = 70;  // more than one block of rows and one tile of columns
  const std::vector<float> x = activations(kRows, kColumns, 1);
  Gram whole(best_gemm(), kColumns, 1), cut(gemm_f32_kernels().back(), kColumns, 2);  // back: ref
  whole.add(x.data(), kRows);
  for (std::size_t i = 0; i < kRows;) {
    const std::size_t rows = std::min<std::size_t>(1 + i % 37, kRows - i);
    cut.add(x.data() + i * kColumns, rows);
    i += rows;
  }
  const std::vector<float> h = whole.finish();
  EXPECT_EQ(h, cut.finish());
  for (std::size_t a = 0; a < kColumns; ++a)
    for (std::size_t b = 0; b < kColumns; ++b) {
      double sum = 0, size = 0;
      for (std::size_t i = 0; i < kRows; ++i) {
        const double product = static_cast<double>(x[i * kColumns + a]) * x[i * kColumns + b];
        sum += product, size += std::fabs(product);
      }
      // 16 chains of 32 fma, a tree of 4, one addition per block: at most 38 roundings on the way.
      ASSERT_NEAR(h[a * kColumns + b], sum, 38 * 0x1p-24 * size) << a << " " << b;
    }
}

TEST(RoundW8, RoundsEachRowToItsOwnLevels) {
  std::vector<float> w = random_floats(3 * 50, 1, 4);
  std::fill_n(w.data() + 50, 50, 0.0f);
  const QuantizedRowsW8 r = round_w8({3, 50, w.data(), nullptr}, 2);
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
