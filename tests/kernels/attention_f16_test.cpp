// Every row against ref, bit by bit, and ref against double.
#include "kernels/attention_f16.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "kernels/float16.h"
#include "kernels/table.h"
#include "tests/kernels/guarded.h"

namespace dgq {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr std::uint16_t kMasked = 0xfc00;  // -infinity

const AttentionF16& ref() { return *attention_f16_kernels().back().run; }

std::vector<std::uint32_t> bits(std::span<const float> values) {
  std::vector<std::uint32_t> out;
  for (const float value : values) out.push_back(std::bit_cast<std::uint32_t>(value));
  return out;
}

struct Found {
  Found(std::size_t rows, std::size_t dim) : max(rows, 7.0f), sum(rows, 7.0f), out(rows * dim, 7.0f) {}
  Found(const AttentionF16& ops, const AttentionBlock& block) : Found(block.rows, block.value_dim) {
    ops.run(block, state());
  }
  AttentionState state() { return {max.data(), sum.data(), out.data()}; }
  std::vector<std::uint32_t> all() const {
    std::vector<std::uint32_t> all = bits(max.span());
    for (const auto& part : {bits(sum.span()), bits(out.span())})
      all.insert(all.end(), part.begin(), part.end());
    return all;
  }
  test::Guarded<float> max, sum, out;
};

struct Case {
  // The last row's numbers end at an unreadable page; rows stand apart, as the heads of one position do.
  Case(std::size_t rows, std::size_t positions, std::size_t key_dim, std::size_t value_dim, std::size_t group,
       unsigned seed)
      : rows(rows),
        positions(positions),
        key_dim(key_dim),
        value_dim(value_dim),
        group(group),
        random(seed),
        q(rows * key_dim),
        k((positions - 1) * k_stride() + key_dim),
        v((positions - 1) * v_stride() + value_dim),
        mask((rows - 1) / group * mask_stride() + positions) {
    for (std::size_t i = 0; i < q.size(); ++i) q[i] = number(0.5f);
    for (std::size_t i = 0; i < k.size(); ++i) k[i] = f32_to_f16(number(2));
    for (std::size_t i = 0; i < v.size(); ++i) v[i] = f32_to_f16(number(1));
    for (std::size_t i = 0; i < mask.size(); ++i)
      mask[i] = random() % 3 == 0 ? kMasked : f32_to_f16(number(1));
  }
  float number(float largest) { return largest * (static_cast<float>(random() % 20001) / 10000.0f - 1); }
  std::size_t k_stride() const { return key_dim + 48; }
  std::size_t v_stride() const { return value_dim + 16; }
  std::size_t mask_stride() const { return positions + 5; }

  AttentionBlock block(bool masked = true) const {
    return {rows,          positions, key_dim,    value_dim,  q.data(),
            k.data(),      v.data(),  k_stride(), v_stride(), masked ? mask.data() : nullptr,
            mask_stride(), group};
  }
  Found run(const AttentionF16& ops, bool masked = true) const { return Found(ops, block(masked)); }

  std::size_t rows, positions, key_dim, value_dim, group;
  std::mt19937 random;
  test::Guarded<float> q;
  test::Guarded<std::uint16_t> k, v, mask;
};

TEST(AttentionF16, EveryRowEqualsRef) {
  const auto kernels = test::runnable(attention_f16_kernels(), "attention_f16");
  unsigned seed = 0;
  for (const std::size_t rows : {1, 2, 3, 4, 5, 8, 9, 32})
    for (const std::size_t positions : {1, 2, 15, 16, 17, 31, 33, 63, 64})
      for (const auto& [key_dim, value_dim] :
           {std::pair(16, 16), {48, 48}, {64, 64}, {80, 96}, {128, 112}, {192, 128}}) {
        const Case c(rows, positions, key_dim, value_dim, 1 + seed % 4, seed);
        ++seed;
        for (const bool masked : {true, false})
          for (const auto* row : kernels)
            EXPECT_EQ(c.run(*row->run, masked).all(), c.run(ref(), masked).all())
                << row->isa << " rows=" << rows << " positions=" << positions << " dims=" << key_dim << ","
                << value_dim;
      }
}

TEST(AttentionF16, JoinEqualsRefAndLeavesTheOrderOfBlocksAlone) {
  for (const auto* row : test::runnable(attention_f16_kernels(), "attention_f16"))
    for (const std::size_t dim : {16, 48, 64, 128}) {
      const Case first(5, 20, dim, dim, 2, 1), second(5, 64, dim, dim, 2, 2);
      Found joined = first.run(ref()), expected = first.run(ref());
      Found other = second.run(ref());
      row->run->join(joined.state(), other.state(), 5, dim);
      ref().join(expected.state(), other.state(), 5, dim);
      EXPECT_EQ(joined.all(), expected.all()) << row->isa << " dim=" << dim;
    }
}

TEST(AttentionF16, RefMatchesDouble) {
  constexpr std::size_t kDim = 64, kPositions = 60, kRows = 6, kGroup = 3, kFirst = 21;
  Case c(kRows, kPositions, kDim, kDim, kGroup, 3);
  for (std::size_t p = 0; p < kFirst; ++p) c.mask[p] = kMasked;  // the first block of the first rows is empty
  AttentionBlock one = c.block(), two = c.block();
  one.positions = kFirst;
  two.positions = kPositions - kFirst;
  two.k += kFirst * two.k_stride, two.v += kFirst * two.v_stride, two.mask += kFirst;
  Found whole = c.run(ref()), halves(ref(), one), second(ref(), two);
  EXPECT_EQ(halves.max[0], -kInfinity);
  EXPECT_EQ(bits(std::span(halves.out.data(), kDim)), std::vector<std::uint32_t>(kDim));
  ref().join(halves.state(), second.state(), kRows, kDim);

  for (std::size_t r = 0; r < kRows; ++r) {
    std::vector<double> s(kPositions), out(kDim);
    for (std::size_t p = 0; p < kPositions; ++p) {
      s[p] = f16_to_f32(c.mask[r / kGroup * c.mask_stride() + p]);
      for (std::size_t i = 0; i < kDim; ++i)
        s[p] += double{c.q[r * kDim + i]} * f16_to_f32(c.k[p * c.k_stride() + i]);
    }
    const double highest = *std::max_element(s.begin(), s.end());
    double sum = 0;
    for (std::size_t p = 0; p < kPositions; ++p) {
      sum += std::exp(s[p] - highest);
      for (std::size_t j = 0; j < kDim; ++j)
        out[j] += std::exp(s[p] - highest) * f16_to_f32(c.v[p * c.v_stride() + j]);
    }
    // A score is a sum of 64 products of at most 1 in 4 + 4 roundings, so it is wrong by 64 * 8 * 2^-24 at most, which is the relative
    // error of a weight and, twice, of their quotient; v is at most 1. The roundings of 60 weighted sums are less.
    for (const Found* found : {&whole, &halves})
      for (std::size_t j = 0; j < kDim; ++j)
        EXPECT_NEAR(found->out[r * kDim + j] / found->sum[r], out[j] / sum, 2 * 64 * 8 * 0x1p-24)
            << r << " " << j;
  }
}

TEST(AttentionF16, RowsThatSeeNothingAreZeroAndNaNsShow) {
  for (const auto* row : test::runnable(attention_f16_kernels(), "attention_f16")) {
    Case c(2, 20, 32, 32, 1, 4);
    std::fill_n(c.mask.data(), 20, kMasked);
    c.q[40] = NAN;
    const Found found = c.run(*row->run);
    EXPECT_EQ(found.max[0], -kInfinity) << row->isa;
    EXPECT_EQ(found.sum[0], 0.0f) << row->isa;
    EXPECT_EQ(bits(std::span(found.out.data(), 32)), std::vector<std::uint32_t>(32)) << row->isa;
    EXPECT_TRUE(std::isnan(found.sum[1]) && std::isnan(found.out[32])) << row->isa;
  }
}

TEST(AttentionF16, NumbersForTheCacheAreRounded) {
  const float numbers[] = {0,          -0.0f,       1,           -1.5f,        0x1.ffcp+15f, 65519.0f,
                           65520.0f,   -1e30f,      kInfinity,   -kInfinity,   0x1p-24f,     0x1p-25f,
                           0x1.8p-24f, 0x1.002p+0f, 0x1.006p+0f, 0x1.ff8p-15f, 0x1.ffcp-15f, 0x1.8p-25f,
                           3e-39f,     0.1f};
  const std::uint16_t expected[] = {0,      0x8000, 0x3c00, 0xbe00, 0x7bff, 0x7bff, 0x7c00,
                                    0xfc00, 0x7c00, 0xfc00, 0x0001, 0x0000, 0x0002, 0x3c00,
                                    0x3c02, 0x03ff, 0x0400, 0x0001, 0x0000, 0x2e66};
  constexpr std::size_t kCount = std::size(numbers);
  for (const auto* row : test::runnable(attention_f16_kernels(), "attention_f16"))
    for (std::size_t n = 0; n <= kCount; ++n) {
      const test::Guarded<float> x{std::span(numbers).first(n)};
      test::Guarded<std::uint16_t> halves(n);
      row->run->to_f16(x.data(), n, halves.data());
      for (std::size_t i = 0; i < n; ++i) EXPECT_EQ(halves[i], expected[i]) << row->isa << " " << numbers[i];
    }
  for (std::uint32_t half = 0; half < 0x10000; ++half) {
    const float value = f16_to_f32(static_cast<std::uint16_t>(half));
    if (std::isnan(value))
      EXPECT_TRUE(std::isnan(f16_to_f32(f32_to_f16(value))));
    else
      EXPECT_EQ(f32_to_f16(value), half);
  }
}

}  // namespace
}  // namespace dgq
