#include "runtime/ops.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/runtime/synthetic.h"

namespace dgq {
namespace {

using test::random_floats;

// The definition, read off ops.h: it must give the same bits.
float dot_by_definition(const float* a, const float* b, std::size_t n) {
  float lane[16] = {};
  for (std::size_t i = 0; i < n; ++i) {
    const float product = a[i] * b[i];
    lane[i % 16] += product;
  }
  for (const std::size_t width : {8, 4, 2, 1})
    for (std::size_t l = 0; l < width; ++l) lane[l] += lane[l + width];
  return lane[0];
}

TEST(Ops, DotIsSixteenLanesAndATree) {
  const auto a = random_floats(200, 1), b = random_floats(200, 2);
  for (std::size_t n = 0; n <= 200; ++n)
    EXPECT_EQ(dot(a.data(), b.data(), n), dot_by_definition(a.data(), b.data(), n));
}

TEST(Ops, AddWeightedRowsGoesRowByRow) {
  for (const std::size_t n : {1, 15, 16, 17, 64, 80}) {
    const auto rows = random_floats(9 * n, 8), weight = random_floats(9, 9);
    auto expected = random_floats(n, 10), actual = expected;
    for (std::size_t t = 0; t < 9; ++t)
      for (std::size_t d = 0; d < n; ++d) {
        const float product = weight[t] * rows[t * n + d];
        expected[d] += product;
      }
    add_weighted_rows(weight.data(), rows.data(), 9, n, actual.data());
    EXPECT_EQ(actual, expected);
  }
}

}  // namespace
}  // namespace dgq
