#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "kernels/table.h"
#include "tests/kernels/guarded.h"

namespace dgq {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// All that a kernel writes, in buffers that it must fill completely.
struct Outcome {
  std::vector<std::int8_t> q;
  std::vector<std::uint32_t> scale_bits;
  std::vector<ChunkSums> sums;
  bool operator==(const Outcome&) const = default;
  float scale(std::size_t b) const { return std::bit_cast<float>(scale_bits[b]); }
};

enum class How { once, twice, given };

constexpr float kGiven = 0.03f;  // the scale of How::given: clips what lies beyond 3.81

Outcome run(const QuantizeRowsKernel& row, const test::Guarded<float>& x, std::size_t ldx, std::size_t rows,
            std::size_t k, std::size_t block, How how = How::once) {
  const std::size_t m = how == How::twice ? 2 * rows : rows;
  const std::size_t stride = round_up(k, kActBlock);
  test::Guarded<std::int8_t> q(m * stride, 99);
  test::Guarded<float> scale(m * (stride / block), -1.0f);
  test::Guarded<ChunkSums> sums(m * (stride / kActBlock), ChunkSums{{9999}, {}, {}});
  const QuantizedRowsOut to{m, stride, block, q.data(), scale.data(), sums.data()};
  const std::size_t half = rows / 2;  // in two calls, as two threads would
  if (how == How::once) {
    row.run(x.data(), ldx, k, to, 0, half);
    row.run(x.data() + half * ldx, ldx, k, to, half, rows - half);
  } else if (how == How::given) {
    row.given(x.data(), ldx, k, to, 0, half, kGiven);
    row.given(x.data() + half * ldx, ldx, k, to, half, rows - half, kGiven);
  } else {
    row.twice(x.data(), ldx, k, to, 0, half, rows);
    row.twice(x.data() + half * ldx, ldx, k, to, half, rows - half, rows);
  }
  Outcome out{{q.data(), q.data() + q.size()}, {}, {sums.data(), sums.data() + sums.size()}};
  for (const float value : scale.span()) out.scale_bits.push_back(std::bit_cast<std::uint32_t>(value));
  return out;
}

const QuantizeRowsKernel& ref() { return quantize_rows_kernels().back(); }

// One row of k values; every kernel must agree with ref, which is returned.
Outcome quantize(const std::vector<float>& values, std::size_t block) {
  const test::Guarded<float> x{std::span<const float>(values)};
  const Outcome expected = run(ref(), x, values.size(), 1, values.size(), block);
  for (const auto* row : test::runnable(quantize_rows_kernels(), "quantize_rows"))
    EXPECT_TRUE(run(*row, x, values.size(), 1, values.size(), block) == expected) << row->isa;
  return expected;
}

TEST(QuantizeRows, EqualsRefForEveryShape) {
  std::mt19937 random(1);
  static const auto rows = test::runnable(quantize_rows_kernels(), "quantize_rows");
  for (const std::size_t m : {0, 1, 3})
    for (const std::size_t k : {1, 7, 31, 32, 33, 64, 95, 127, 128, 129, 172, 256, 300, 576}) {
      const std::size_t ldx = k + 3;
      test::Guarded<float> x(m ? (m - 1) * ldx + k : 0);
      for (std::size_t i = 0; i < x.size(); ++i)
        x[i] = std::ldexp(static_cast<float>(random() % 4001) - 2000.0f, -9);
      for (const std::size_t block : {kActBlock, round_up(k, kActBlock)})
        for (const auto* row : rows)
          EXPECT_TRUE(run(*row, x, ldx, m, k, block) == run(ref(), x, ldx, m, k, block))
              << row->isa << " m=" << m << " k=" << k << " block=" << block;
      for (const auto& [how, block] :
           {std::pair(How::twice, kActBlock), {How::given, round_up(k, kActBlock)}})
        for (const auto* row : rows)
          EXPECT_TRUE(run(*row, x, ldx, m, k, block, how) == run(ref(), x, ldx, m, k, block, how))
              << row->isa << " m=" << m << " k=" << k << (how == How::twice ? " twice" : " given");
    }
}

TEST(QuantizeRows, RoundsHalfToEven) {
  std::vector<float> values{127.0f, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, -126.5f, 126.5f, 0.25f};
  const Outcome out = quantize(values, kActBlock);
  const std::vector<std::int8_t> expected{127, 0, 2, 2, 0, -2, -2, -126, 126, 0};
  EXPECT_EQ(std::vector<std::int8_t>(out.q.begin(), out.q.begin() + 10), expected);
  EXPECT_EQ(out.scale(0), 1.0f);
  EXPECT_EQ(out.sums[0].of32[0], 127 + 0 + 2 + 2 - 2 - 2 - 126 + 126);
}

// scale and q recover x to half a step; sums are those of q; padding is 0.
TEST(QuantizeRows, RefIsTheFormula) {
  std::mt19937 random(2);
  std::vector<float> values(200);
  for (float& value : values) value = static_cast<float>(random() % 2001) / 100.0f - 10.0f;
  const Outcome out = quantize(values, kActBlock);
  for (std::size_t k = 0; k < 256; ++k) {
    if (k < values.size()) {  // the two roundings of x * (127 / max) move it by 127 * 2^-23 steps at most
      EXPECT_NEAR(out.q[k] * out.scale(k / 128), values[k], out.scale(k / 128) * (0.5 + 0x1p-15)) << k;
    } else {
      EXPECT_EQ(out.q[k], 0) << k;
    }
  }
  for (std::size_t b = 0; b < 2; ++b) {
    float largest = 0;
    for (std::size_t k = b * 128; k < std::min<std::size_t>(values.size(), (b + 1) * 128); ++k)
      largest = std::max(largest, std::abs(values[k]));
    EXPECT_EQ(out.scale(b), largest / 127.0f);
  }
  for (std::size_t chunk = 0; chunk < out.sums.size(); ++chunk) {
    const auto sum = [&](std::size_t begin, std::size_t count) {
      const auto first = out.q.begin() + static_cast<std::ptrdiff_t>(chunk * kActBlock + begin);
      return std::accumulate(first, first + static_cast<std::ptrdiff_t>(count), 0);
    };
    for (std::size_t run = 0; run < 4; ++run) EXPECT_EQ(out.sums[chunk].of32[run], sum(32 * run, 32));
    for (std::size_t pair = 0; pair < 2; ++pair) EXPECT_EQ(out.sums[chunk].of64[pair], sum(64 * pair, 64));
    EXPECT_EQ(out.sums[chunk].minus_128, -128 * sum(0, 128));
    for (const std::size_t group : {32, 64, 128})
      for (std::size_t column = 0; column < 128; column += group)
        EXPECT_EQ(out.sums[chunk].of_group(column, group), sum(column, group));
  }
}

// Both roundings together recover x to half a step of the second.
TEST(QuantizeRows, TwiceIsSixteenBits) {
  std::mt19937 random(3);
  test::Guarded<float> x(200);
  for (std::size_t k = 0; k < x.size(); ++k)
    x[k] = std::ldexp(static_cast<float>(random() % 2001) - 1000.0f, -7);
  const Outcome out = run(ref(), x, x.size(), 1, x.size(), kActBlock, How::twice);
  for (std::size_t k = 0; k < x.size(); ++k) {
    const std::size_t coarse = k / 128 * 256 + k % 128, b = k / 128 * 2;  // of the first row; then the second
    EXPECT_LE(out.scale(b + 1), out.scale(b) * (0.5 + 0x1p-15) / 127);
    EXPECT_NEAR(out.q[coarse] * out.scale(b) + out.q[coarse + 128] * out.scale(b + 1), x[k],
                out.scale(b + 1) * (0.5 + 0x1p-10));
  }
}

// The values at hand, whatever their size: what fits is rounded, what does not is clipped, zeros stay.
TEST(QuantizeRows, GivenScaleRoundsAndClips) {
  std::vector<float> values(300, 0.0f);
  values[0] = 1.5f * kGiven, values[1] = -2.5f * kGiven, values[2] = 4, values[3] = -4, values[4] = 3e38f;
  values[5] = -3e38f, values[6] = 1e-45f, values[299] = 126 * kGiven;
  const test::Guarded<float> x{std::span<const float>(values)};
  for (const auto* row : test::runnable(quantize_rows_kernels(), "quantize_rows")) {
    const Outcome out = run(*row, x, 300, 1, 300, 384, How::given);
    ASSERT_EQ(out.scale_bits.size(), 1u);
    EXPECT_EQ(out.scale(0), kGiven);
    const std::vector<std::int8_t> expected{2, -2, 127, -127, 127, -127, 0, 0};
    EXPECT_EQ(std::vector<std::int8_t>(out.q.begin(), out.q.begin() + 8), expected) << row->isa;
    EXPECT_EQ(out.q[299], 126);
    EXPECT_EQ(out.sums[2].of64[0], 126);
  }
}

TEST(QuantizeRows, NonFiniteInputMarksARowOfGivenScale) {
  for (const float bad : {kNan, kInfinity, -kInfinity}) {
    std::vector<float> values(400, 2.0f);  // two rows
    values[263] = bad;
    const test::Guarded<float> x{std::span<const float>(values)};
    for (const auto* row : test::runnable(quantize_rows_kernels(), "quantize_rows")) {
      const Outcome out = run(*row, x, 200, 2, 200, 256, How::given);
      EXPECT_EQ(out.scale(0), kGiven) << row->isa;
      EXPECT_EQ(out.scale_bits[1], 0x7fc00000u) << row->isa;
      EXPECT_EQ(out.q[0], 67) << row->isa;
      EXPECT_EQ(out.q[128], 0) << row->isa;  // the second row of the first chunk
    }
  }
}

TEST(QuantizeRows, TinyBlocksCountAsZero) {
  for (const float tiny : {0.0f, -0.0f, 1e-45f, 1e-40f, 3.7e-37f}) {  // 127 / 3.73e-37 is where floats end
    const Outcome out = quantize(std::vector<float>(130, tiny), kActBlock);
    EXPECT_EQ(out.scale_bits, std::vector<std::uint32_t>(2, 0u)) << tiny;
    EXPECT_EQ(out.q, std::vector<std::int8_t>(256, 0)) << tiny;
  }
  const Outcome out = quantize(std::vector<float>(1, -3.8e-37f), kActBlock);
  EXPECT_GT(out.scale(0), 0.0f);
  EXPECT_EQ(out.q[0], -127);
  EXPECT_EQ(quantize({std::numeric_limits<float>::max(), 1.0f}, kActBlock).q[0], 127);
}

TEST(QuantizeRows, NonFiniteInputMarksItsBlock) {
  for (const float bad : {kNan, -kNan, kInfinity, -kInfinity, std::bit_cast<float>(0x7f800001u)}) {
    for (const std::size_t where : {0, 31, 127, 130, 199}) {
      std::vector<float> values(200, 2.0f);
      values[where] = bad;
      for (const std::size_t block : {kActBlock, std::size_t{256}}) {
        const Outcome out = quantize(values, block);
        const std::size_t hit = where / block;
        EXPECT_EQ(out.scale_bits[hit], 0x7fc00000u);
        EXPECT_EQ(out.q[where], 0);
        for (std::size_t b = 0; b < out.scale_bits.size(); ++b)
          if (b != hit) {
            EXPECT_EQ(out.scale(b), 2.0f / 127.0f);
          }
      }
    }
  }
}

}  // namespace
}  // namespace dgq
