#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <random>

#include "kernels/table.h"
#include "tests/kernels/guarded.h"

namespace dgq {
namespace {

constexpr float kUntouched = -12345.0f;

struct Case {
  std::size_t m, n, k;
  std::size_t ldx = k + 2, ldy = n + 3;
  test::Guarded<float> x{m ? (m - 1) * ldx + k : 0}, w{n * k}, bias{n};

  // `value` is called for every element.
  template <class Value>
  Case(std::size_t m_, std::size_t n_, std::size_t k_, Value value) : m(m_), n(n_), k(k_) {
    for (auto* array : {&x, &w, &bias})
      for (std::size_t i = 0; i < array->size(); ++i) (*array)[i] = value();
  }

  // Bits of y for rows [begin, end) of w; everything else of y must stay as it was.
  std::vector<std::uint32_t> run(const GemmF32Kernel& row, bool with_bias, std::size_t begin,
                                 std::size_t end) const {
    test::Guarded<float> y(m ? (m - 1) * ldy + n : 0, kUntouched);
    row.run({n, k, w.data(), with_bias ? bias.data() : nullptr}, x.data(), ldx, m, begin, end, y.data(), ldy);
    std::vector<std::uint32_t> out;
    for (std::size_t at = 0; at < y.size(); ++at) {
      if (at % ldy < begin || at % ldy >= end) {
        EXPECT_EQ(y[at], kUntouched) << "row " << at / ldy << " column " << at % ldy;
      }
      out.push_back(std::bit_cast<std::uint32_t>(y[at]));
    }
    return out;
  }

  void expect_equal_to_ref(std::size_t begin, std::size_t end) const {
    static const auto rows = test::runnable(gemm_f32_kernels(), "gemm_f32");
    for (const bool with_bias : {false, true})
      for (const GemmF32Kernel* row : rows)
        EXPECT_EQ(run(*row, with_bias, begin, end), run(gemm_f32_kernels().back(), with_bias, begin, end))
            << row->isa << " m=" << m << " n=" << n << " k=" << k << " bias=" << with_bias;
  }
};

auto random_floats(unsigned seed) {
  return [random = std::mt19937(seed)]() mutable {
    return static_cast<float>(random() % 65537) / 32768.0f - 1.0f;
  };
}

TEST(GemmF32, EqualsRefAroundTileEdges) {
  for (const std::size_t m : {0, 1, 2, 3, 4, 7})
    for (const std::size_t n : {0, 1, 2, 3, 5})
      for (const std::size_t k : {0, 1, 7, 8, 15, 16, 17, 31, 33, 172, 256})
        Case(m, n, k, random_floats(static_cast<unsigned>(m * 100 + n * 10 + k))).expect_equal_to_ref(0, n);
}

TEST(GemmF32, WritesOnlyTheRowsAskedFor) {
  const Case some(4, 9, 33, random_floats(1));
  some.expect_equal_to_ref(3, 6);
  some.expect_equal_to_ref(8, 9);
  some.expect_equal_to_ref(5, 5);
}

// Overflow, underflow to -0 in single lanes, denormals, infinities: the order of additions decides the bits.
TEST(GemmF32, EqualsRefOnWildValues) {
  static constexpr float kWild[] = {0.0f,  -0.0f,  1e-30f, -1e-30f, 1e-40f,
                                    3e38f, -3e38f, 1.0f,   -1.0f,   16777217.0f};
  for (const std::size_t k : {5, 16, 23, 64})
    for (unsigned seed = 0; seed < 8; ++seed)
      Case(4, 5, k, [random = std::mt19937(seed)]() mutable {
        return kWild[random() % std::size(kWild)];
      }).expect_equal_to_ref(0, 5);
  // -1e-30 * 1e-30 rounds to -0 in every lane: the sum is -0, and +0 once anything adds a +0.
  Case negative_zero(3, 2, 24, [] { return 1e-30f; });
  for (std::size_t i = 0; i < negative_zero.x.size(); ++i) negative_zero.x[i] = -1e-30f;
  negative_zero.expect_equal_to_ref(0, 2);
  EXPECT_EQ(negative_zero.run(gemm_f32_kernels().back(), false, 0, 2)[0],
            std::bit_cast<std::uint32_t>(-0.0f));
}

// Each of the k / 16 fma of a lane, the 4 additions of the tree and the bias rounds by at most 2^-24 of the
// magnitudes.
TEST(GemmF32, RefIsTheFormula) {
  const Case some(3, 4, 100, random_floats(2));
  const auto y = some.run(gemm_f32_kernels().back(), true, 0, some.n);
  for (std::size_t i = 0; i < some.m; ++i) {
    for (std::size_t j = 0; j < some.n; ++j) {
      double sum = some.bias[j], magnitude = std::abs(sum);
      for (std::size_t k = 0; k < some.k; ++k) {
        const double term = double(some.x[i * some.ldx + k]) * some.w[j * some.k + k];
        sum += term;
        magnitude += std::abs(term);
      }
      EXPECT_NEAR(std::bit_cast<float>(y[i * some.ldy + j]), sum, (7 + 4 + 1) * 0x1p-24 * magnitude);
    }
  }
}

}  // namespace
}  // namespace dgq
