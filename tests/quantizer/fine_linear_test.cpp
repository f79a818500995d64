#include "quantizer/fine_linear.h"

#include <gtest/gtest.h>

#include "quantizer/dgq_search.h"
#include "quantizer/input_report.h"
#include "quantizer/quadratic_form.h"
#include "quantizer/round_w8.h"
#include "tests/quantizer/fine_problem.h"

namespace dgq {
namespace {

using test::FineProblem;

// Sizes around the slices and batches that it is computed in. Float products of k terms, each within 2^-24 of what it should
// be, are within k * 2^-24 of the sum of their sizes; that is at most 40 times the form itself for these H.
TEST(QuadraticForm, IsTheFormulaInDouble) {
  for (const auto& [n, k] :
       {std::pair<std::size_t, std::size_t>{1, 5}, {3, 63}, {33, 64}, {32, 65}, {70, 200}}) {
    const FineProblem p(n, k, 32, n + k);
    const double energy = output_energy(test::best_gemm(), p.matrix(), p.h, 2);
    EXPECT_NEAR(energy, p.energy(), 40 * static_cast<double>(k) * 0x1p-24 * energy) << n << " " << k;
    const FineLinear rounded = round_min_max(p.matrix(), p.format, 1);
    const double loss = output_loss(test::best_gemm(), p.matrix(), p.h, p.format, rounded, 2);
    EXPECT_NEAR(loss, p.loss(rounded), 40 * static_cast<double>(k) * 0x1p-24 * loss) << n << " " << k;
  }
  EXPECT_EQ(quadratic_form(test::best_gemm(), 0, 5, std::vector<float>(25), 2, {}), 0);
}

TEST(QuadraticForm, SameBitsOnEveryKernelAndThreadCount) {
  const FineProblem p(71, 150, 32, 5);
  const double expected = output_energy(test::best_gemm(), p.matrix(), p.h, 1);
  test::for_each_gemm("quadratic form", [&](const GemmF32Kernel& row, int threads) {
    EXPECT_EQ(output_energy(row, p.matrix(), p.h, threads), expected) << row.isa << " " << threads;
  });
}

TEST(OutputLoss, OfCoarseLinears) {
  const FineProblem p(9, 70, 32, 6);
  const CoarseLinear rounded = round_w8(p.matrix(), 1);
  double expected = 0;
  for (std::size_t n = 0; n < p.n; ++n) {
    std::vector<double> d(p.k);
    for (std::size_t k = 0; k < p.k; ++k)
      d[k] = p.w[n * p.k + k] - static_cast<double>(rounded.s1[n]) * rounded.q[n * p.k + k];
    expected += p.form(d);
  }
  const double loss = output_loss(test::best_gemm(), p.matrix(), p.h, rounded, 2);
  EXPECT_GT(loss, 0);
  EXPECT_NEAR(loss, expected,
              1e-3 * expected);  // d is rounded: its last bits are a part in 2^12 of half a step
}

// A grid of 10 + 2 q in units of 1: weights below 9 and above 41 are beyond it.
TEST(ClippedShare, CountsWeightsBeyondTheGrid) {
  std::vector<float> w(40, 20.0f);
  FineLinear linear{std::vector<std::uint8_t>(40, 5), {2, 2}, {10, 10}, {1}};
  const F32Matrix matrix{1, 40, w.data(), nullptr};
  const auto put = [&](std::size_t at, float weight, std::uint8_t code) {
    w[at] = weight, linear.q[at] = code;
  };
  put(0, 8.5f, 0);    // beyond
  put(1, 9.5f, 0);    // within half a step
  put(2, 41.5f, 15);  // beyond
  put(3, 40.5f, 15);  // within
  put(35, -50, 0);    // beyond
  put(36, 90, 14);    // not at the end: someone put it there on purpose
  EXPECT_DOUBLE_EQ(clipped_share(matrix, {32, 4}, linear, 1), 3.0 / 40);
  EXPECT_EQ(clipped_share({0, 40, nullptr, nullptr}, {32, 4}, {}, 1), 0);
  // Min-max rounding clips nothing but what the rounding of its own grid cuts off.
  const FineProblem p(20, 128, 32, 3);
  EXPECT_LT(clipped_share(p.matrix(), p.format, round_min_max(p.matrix(), p.format, 1), 2), 0.02);
}

TEST(InputReport, OutliersAndRange) {
  // The median channel has 1.
  const double rms[] = {1, 0.5, 1, 5.9, 6.1};
  LinearInputs inputs;
  inputs.tokens = 4;
  inputs.largest = 12;
  inputs.h.resize(25, 7);  // off the diagonal: not looked at
  double sum = 0;
  for (std::size_t c = 0; c < 5; ++c) {
    inputs.h[c * 6] = static_cast<float>(4 * rms[c] * rms[c]);
    sum += rms[c] * rms[c];
  }
  const InputReport report = report_inputs(inputs);
  EXPECT_EQ(report.outliers, 1u);
  EXPECT_NEAR(report.range, 12 / std::sqrt(sum / 5), 1e-6);
  inputs.h.assign(25, 0);
  EXPECT_EQ(report_inputs(inputs).outliers, 0u);
  EXPECT_EQ(report_inputs(inputs).range, 0);
  EXPECT_EQ(report_inputs({}).range, 0);
}

}  // namespace
}  // namespace dgq
