#include "bench/kernel_rows.h"

#include <gtest/gtest.h>

namespace dgq::bench {
namespace {

TEST(KernelRows, OfThisBuildAreEqualToRef) {
  const auto compared = check_against_ref(runnable_rows());
  ASSERT_TRUE(compared) << compared.error().what;
  EXPECT_GT(*compared, 100u);
}

// ref, but for one bit of the last output.
template <class Matrix>
void wrong_gemm(const Matrix& w, const QuantizedRows& x, std::size_t begin, std::size_t end, float* y,
                std::size_t ldy) noexcept {
  if constexpr (std::is_same_v<Matrix, W4Matrix>)
    gemm_w4a8_kernels().back().decode(w, x, begin, end, y, ldy);
  else if constexpr (std::is_same_v<Matrix, W6Matrix>)
    gemm_w6a8_kernels().back().decode(w, x, begin, end, y, ldy);
  else
    gemm_w8a8_kernels().back().decode(w, x, begin, end, y, ldy);
  float& last = y[(x.m - 1) * ldy + w.n - 1];
  last = -last;
}
void wrong_quantize(const float* x, std::size_t ldx, std::size_t k, const QuantizedRowsOut& out,
                    std::size_t first, std::size_t rows) noexcept {
  quantize_rows_kernels().back().run(x, ldx, k, out, first, rows);
  out.q[0] = static_cast<std::int8_t>(out.q[0] ^ 1);
}
void wrong_f32(const F32Matrix& w, const float* x, std::size_t ldx, std::size_t m, std::size_t begin,
               std::size_t end, float* y, std::size_t ldy) noexcept {
  gemm_f32_kernels().back().run(w, x, ldx, m, begin, end, y, ldy);
  y[0] += 1;
}

void expect_found(const KernelRows& rows, const std::string& what) {
  const auto compared = check_against_ref(rows);
  ASSERT_FALSE(compared);
  EXPECT_EQ(compared.error().what.find(what + ", row wrong"), 0u) << compared.error().what;
}

TEST(KernelRows, OneWrongBitIsFoundAndNamed) {
  const KernelRows right = runnable_rows();
  KernelRows rows = right;
  const auto ref = right.gemm_w4a8.back().prefill;
  rows.gemm_w4a8.insert(rows.gemm_w4a8.begin(), {"wrong", 0, wrong_gemm<W4Matrix>, ref, 1});
  expect_found(rows, "gemm_w4a8");
  rows.gemm_w4a8.front() = {"wrong", 0, ref, wrong_gemm<W4Matrix>, 1};
  expect_found(rows, "gemm_w4a8");
  rows = right;
  const auto ref6 = right.gemm_w6a8.back().prefill;
  rows.gemm_w6a8.insert(rows.gemm_w6a8.begin(), {"wrong", 0, wrong_gemm<W6Matrix>, ref6, 1});
  expect_found(rows, "gemm_w6a8");
  rows = right;
  const auto ref8 = right.gemm_w8a8.back().prefill;
  rows.gemm_w8a8.insert(rows.gemm_w8a8.begin(), {"wrong", 0, wrong_gemm<W8Matrix>, ref8, 1});
  expect_found(rows, "gemm_w8a8");
  rows = right;
  rows.quantize_rows.insert(
      rows.quantize_rows.begin(),
      {"wrong", 0, wrong_quantize, right.quantize_rows.back().twice, right.quantize_rows.back().given});
  expect_found(rows, "quantize_rows");
  rows = right;
  rows.gemm_f32.insert(rows.gemm_f32.begin(), {"wrong", 0, wrong_f32});
  expect_found(rows, "gemm_f32");
  rows = right;
  FloatOps wrong_ops = *right.float_ops.back().run;
  wrong_ops.multiply = wrong_ops.add;
  rows.float_ops.insert(rows.float_ops.begin(), {"wrong", 0, &wrong_ops});
  expect_found(rows, "float_ops");
}

}  // namespace
}  // namespace dgq::bench
