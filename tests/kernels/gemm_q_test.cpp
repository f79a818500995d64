#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "kernels/table.h"
#include "tests/kernels/gemm_q_case.h"

namespace dgq {
namespace {

using test::Activations;
using test::Fill;
using test::Shape;

constexpr float kUntouched = -12345.0f;

// What the operations have in common for these tests.
struct W4 : test::W4Weights {
  using Weights = test::W4Weights;
  using Guard = test::GuardedW4;
  static auto rows() { return gemm_w4a8_kernels(); }
  static constexpr const char* kName = "gemm_w4a8";
  static constexpr std::size_t kGroups[] = {32, 64, 128};
};
struct W6 : test::W6Weights {
  using Weights = test::W6Weights;
  using Guard = test::GuardedW6;
  static auto rows() { return gemm_w6a8_kernels(); }
  static constexpr const char* kName = "gemm_w6a8";
  static constexpr std::size_t kGroups[] = {32, 64, 128};
};
struct W8 : test::W8Weights {
  using Weights = test::W8Weights;
  using Guard = test::GuardedW8;
  static auto rows() { return gemm_w8a8_kernels(); }
  static constexpr const char* kName = "gemm_w8a8";
  static constexpr std::size_t kGroups[] = {32};
};

template <class Op>
class GemmQ : public testing::Test {};
using Operations = testing::Types<W4, W6, W8>;
struct OperationNames {
  template <class Op>
  static std::string GetName(int) {
    return Op::kName;
  }
};
TYPED_TEST_SUITE(GemmQ, Operations, OperationNames);

// Runs `gemm` into a y with room between its rows, and checks that it wrote its part of y and nothing else.
template <class Gemm, class Matrix>
std::vector<float> output(Gemm* gemm, const Matrix& w, const QuantizedRows& x, std::size_t begin,
                          std::size_t end) {
  const std::size_t ldy = w.n + 3;
  test::Guarded<float> y(x.m ? (x.m - 1) * ldy + w.n : 0, kUntouched);
  gemm(w, x, begin, end, y.data(), ldy);
  for (std::size_t at = 0; at < y.size(); ++at) {
    const bool inside = at % ldy >= begin * kRowBlock && at % ldy < std::min(end * kRowBlock, w.n);
    EXPECT_EQ(y[at] != kUntouched, inside) << "row " << at / ldy << " column " << at % ldy;
  }
  return {y.data(), y.data() + y.size()};
}

std::vector<std::uint32_t> bits(const std::vector<float>& values) {
  std::vector<std::uint32_t> out;
  for (const float value : values) out.push_back(std::bit_cast<std::uint32_t>(value));
  return out;
}

// Every row of the table against ref, decode and prefill.
template <class Op>
void expect_equal_to_ref(const Shape& shape, std::size_t begin, std::size_t end) {
  test::Random random(static_cast<unsigned>(shape.m * 131 + shape.n * 17 + shape.k));
  const typename Op::Weights weights(shape, random);
  const typename Op::Guard guard(weights.bound);
  const Activations x(shape, random);
  const auto expected = bits(output(Op::rows().back().decode, guard.view(), x.view(), begin, end));
  static const auto rows = test::runnable(Op::rows(), Op::kName);
  for (const auto* row : rows) {
    SCOPED_TRACE(testing::Message() << row->isa << " " << shape);
    EXPECT_EQ(bits(output(row->decode, guard.view(), x.view(), begin, end)), expected) << "decode";
    EXPECT_EQ(bits(output(row->prefill, guard.view(), x.view(), begin, end)), expected) << "prefill";
  }
}

template <class Op>
void expect_equal_to_ref(const Shape& shape) {
  expect_equal_to_ref<Op>(shape, 0, (shape.n + kRowBlock - 1) / kRowBlock);
}

TYPED_TEST(GemmQ, EqualsRefAroundTileEdges) {
  for (const std::size_t group : TypeParam::kGroups)
    for (const std::size_t m : {0, 1, 2, 3, 4, 5, 7, 9, 13, 23})
      for (const std::size_t n : {1, 15, 16, 17, 33})
        for (const bool row_scale : {false, true})
          expect_equal_to_ref<TypeParam>(
              {m, n, 3 * group - 5, group, row_scale, (m + n) % 2 == 0, Fill::random});
}

TYPED_TEST(GemmQ, EqualsRefAroundPanelEdges) {
  for (const std::size_t m : {63, 64, 65, 127, 128, 129, 160})
    for (const bool row_scale : {false, true})
      expect_equal_to_ref<TypeParam>({m, 17, 160, 32, row_scale, true, Fill::random});
}

TYPED_TEST(GemmQ, EqualsRefForEveryNumberOfColumns) {
  for (const std::size_t group : TypeParam::kGroups)
    for (const std::size_t k :
         {1, 31, 32, 33, 63, 64, 65, 96, 127, 128, 129, 160, 172, 255, 257, 288, 384, 640})
      for (const bool row_scale : {false, true})
        expect_equal_to_ref<TypeParam>({5, 17, k, group, row_scale, row_scale, Fill::random});
}

TYPED_TEST(GemmQ, EqualsRefAtExtremes) {
  for (const std::size_t group : TypeParam::kGroups)
    for (const Fill fill : {Fill::extreme, Fill::greatest, Fill::least})
      for (const bool row_scale : {false, true})
        for (const std::size_t k : {32, 512})
          expect_equal_to_ref<TypeParam>({5, 33, k, group, row_scale, row_scale, fill});
}

// Sums of 2^31 less 1.6 %; inside the fold, s2 times the dot product alone is twice that and wraps.
TYPED_TEST(GemmQ, EqualsRefAtTheLargestK) {
  for (const Fill fill : {Fill::greatest, Fill::least})
    expect_equal_to_ref<TypeParam>({1, 16, kMaxK, 128, true, false, fill});
}

TYPED_TEST(GemmQ, WritesOnlyTheBlocksAskedFor) {
  const Shape shape{6, 41, 128, 64, false, true, Fill::random};
  expect_equal_to_ref<TypeParam>(shape, 1, 2);
  expect_equal_to_ref<TypeParam>(shape, 2, 3);
  expect_equal_to_ref<TypeParam>(shape, 1, 1);
}

// With all scales 1 and one block, y is float(sum): exact up to 2^24, which 1024 columns stay under.
TYPED_TEST(GemmQ, IntegerSumsAreExact) {
  for (const Fill fill : {Fill::random, Fill::extreme, Fill::greatest, Fill::least}) {
    const Shape shape{6, 17, 1000, 64, true, false, fill, true};
    test::Random random(7);
    const typename TypeParam::Weights weights(shape, random);
    const Activations x(shape, random);
    std::vector<float> sums(shape.m * (shape.n + 3) - 3, kUntouched);
    for (std::size_t i = 0; i < shape.m; ++i) {
      for (std::size_t j = 0; j < shape.n; ++j) {
        std::int64_t sum = 0;
        for (std::size_t k = 0; k < shape.k; ++k) sum += x.at(i, k) * weights.w8(j, k);
        sums[i * (shape.n + 3) + j] = static_cast<float>(sum);
      }
    }
    for (const auto* row : test::runnable(TypeParam::rows(), TypeParam::kName)) {
      EXPECT_EQ(output(row->decode, weights.bound, x.view(), 0, 2), sums) << row->isa << " " << shape;
      EXPECT_EQ(output(row->prefill, weights.bound, x.view(), 0, 2), sums) << row->isa << " " << shape;
    }
  }
}

// The formula in double, from the plain arrays. Each of the b + 1 roundings (float of the sum, fma, the two
// of s1 and bias included) is at most 2^-24 of what has been added up so far, which the sum of magnitudes
// bounds.
TYPED_TEST(GemmQ, RefIsTheFormula) {
  for (const bool row_scale : {false, true}) {
    const Shape shape{3, 5, 300, 64, row_scale, !row_scale, Fill::random};
    test::Random random(11);
    const typename TypeParam::Weights weights(shape, random);
    const Activations x(shape, random);
    const QuantizedRows view = x.view();
    const auto y = output(TypeParam::rows().back().decode, weights.bound, view, 0, 1);
    for (std::size_t i = 0; i < shape.m; ++i) {
      for (std::size_t j = 0; j < shape.n; ++j) {
        double value = 0, magnitude = 0;
        for (std::size_t k = 0; k < shape.k; ++k) {
          const double term =
              double(view.scale_of(i, k / view.block)) * x.at(i, k) * weights.w8(j, k) * weights.coarse.s1[j];
          value += term;
          magnitude += std::abs(term);
        }
        const double bias = shape.bias ? weights.coarse.bias[j] : 0;
        const double blocks = static_cast<double>(view.stride / view.block);
        EXPECT_NEAR(y[i * (shape.n + 3) + j], value + bias,
                    (2 * blocks + 2) * 0x1p-24 * (magnitude + std::abs(bias)));
      }
    }
  }
}

TYPED_TEST(GemmQ, RunGemmAgreesOnBothSidesOfTheSwitch) {
  for (const auto* row : test::runnable(TypeParam::rows(), TypeParam::kName)) {
    for (const std::size_t m : {row->prefill_rows - 1, row->prefill_rows}) {
      const Shape shape{m, 20, 256, 128, false, true, Fill::random};
      test::Random random(3);
      const typename TypeParam::Weights weights(shape, random);
      const Activations x(shape, random);
      std::vector<float> y(m * shape.n), expected(m * shape.n);
      run_gemm(*row, weights.bound, x.view(), 0, 2, y.data(), shape.n);
      TypeParam::rows().back().decode(weights.bound, x.view(), 0, 2, expected.data(), shape.n);
      EXPECT_EQ(bits(y), bits(expected)) << row->isa << " m=" << m;
    }
  }
}

}  // namespace
}  // namespace dgq
