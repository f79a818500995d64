#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "tests/kernels/gemm_q_case.h"

namespace dgq {
namespace {

using test::Fill;
using test::Shape;

template <int kBits>
void expect_round_trip() {
  for (const std::size_t group : {32, 64, 128})
    for (const std::size_t n : {1, 16, 37})
      for (const std::size_t k : {1, 30, 128, 172, 260}) {
        const Shape shape{1, n, k, group, false, n % 2 == 1, Fill::random};
        test::Random random(static_cast<unsigned>(n * k));
        const test::FineWeights<kBits> w(shape, random);
        std::vector<float> row(k);
        for (std::size_t i = 0; i < n; ++i) {
          unpack_row(w.bound, i, row.data());
          for (std::size_t j = 0; j < k; ++j) {
            ASSERT_EQ(w8_at(w.bound, i, j), w.w8(i, j)) << i << " " << j;
            ASSERT_EQ(row[j], w.coarse.s1[i] * static_cast<float>(w.w8(i, j))) << i << " " << j;
          }
          if (shape.bias) {
            EXPECT_EQ(w.bound.bias[i], w.coarse.bias[i]);
          }
        }
        EXPECT_EQ(find_fault(w.bound), nullptr);
      }
}

TEST(PackedW4, RoundTripsThroughTheLayout) { expect_round_trip<4>(); }
TEST(PackedW6, RoundTripsThroughTheLayout) { expect_round_trip<6>(); }

TEST(PackedW8, RoundTripsThroughTheLayout) {
  for (const std::size_t n : {1, 16, 37})
    for (const std::size_t k : {1, 30, 128, 172}) {
      const Shape shape{1, n, k, 32, false, n % 2 == 1, Fill::random};
      test::Random random(static_cast<unsigned>(n * k));
      const test::W8Weights w(shape, random);
      std::vector<float> row(k);
      for (std::size_t i = 0; i < n; ++i) {
        unpack_row(w.bound, i, row.data());
        for (std::size_t j = 0; j < k; ++j) {
          ASSERT_EQ(w8_at(w.bound, i, j), w.w8(i, j)) << i << " " << j;
          ASSERT_EQ(row[j], w.coarse.s1[i] * static_cast<float>(w.w8(i, j))) << i << " " << j;
        }
      }
      EXPECT_EQ(find_fault(w.bound), nullptr);
    }
}

// The drawing in packed.h, byte by byte: files depend on it.
TEST(PackedW4, PutsNibblesWhereTheDrawingSays) {
  constexpr std::size_t kN = 20, kK = 40, kGroup = 32;
  std::vector<std::uint8_t> q(kN * kK), s2(kN * 2);
  std::vector<std::int8_t> o(kN * 2);
  const std::vector<float> s1(kN, 1.0f);
  q[18 * kK + 13] = 9;  // block 1, row 2, step 1, column 5 of 8: high nibble of j = 1
  q[18 * kK + 33] = 5;  // step 4, column 1: low nibble of j = 1
  s2[18 * 2 + 1] = 77;
  o[18 * 2 + 1] = -3;
  const std::size_t bytes = packed_w4_bytes(kN, kK, kGroup, false);
  const test::Section section = test::make_section(bytes);
  pack_w4({q.data(), s2.data(), o.data(), s1.data(), nullptr}, kN, kK, kGroup, section.get());
  std::vector<std::uint8_t> expected(bytes);
  expected[(1 * 8 + 1) * 64 + 4 * 2 + 1] = 9 << 4;
  expected[(1 * 8 + 4) * 64 + 4 * 2 + 1] = 5;
  constexpr std::size_t kS2 = 32 * 64 / 2, kO = kS2 + 64, kS1 = kO + 64;
  expected[kS2 + (1 * 2 + 1) * 16 + 2] = 77;
  expected[kO + (1 * 2 + 1) * 16 + 2] = static_cast<std::uint8_t>(-3);
  std::memcpy(&expected[kS1], s1.data(), kN * sizeof(float));
  ASSERT_EQ(bytes, kS1 + 32 * sizeof(float));
  EXPECT_EQ(std::memcmp(section.get(), expected.data(), bytes), 0);
}

TEST(PackedW6, PutsBitsWhereTheDrawingSays) {
  constexpr std::size_t kN = 20, kK = 40, kGroup = 32;
  std::vector<std::uint8_t> q(kN * kK), s2(kN * 2);
  std::vector<std::int8_t> o(kN * 2);
  const std::vector<float> s1(kN, 1.0f), bias(kN, 2.0f);
  q[18 * kK + 13] =
      0x29;  // block 1, row 2, step 1, column 5 of 8: high nibble of j = 1; bits 5-4 of the plane
  q[18 * kK + 33] = 0x15;  // step 4, column 1: low nibble of j = 1; bits 1-0
  q[10 * kK + 6] =
      0x3c;  // block 0, row 10, step 0, column 6: high nibble of j = 2; bits 7-6 of the byte of row 2
  q[15 * kK + 3] = 0x2f;  // row 15, column 3: low nibble of j = 3; bits 3-2 of the byte of row 7
  s2[18 * 2 + 1] = 77;
  o[18 * 2 + 1] = -3;
  const std::size_t bytes = packed_w6_bytes(kN, kK, kGroup, true);
  const test::Section section = test::make_section(bytes);
  pack_w6({q.data(), s2.data(), o.data(), s1.data(), bias.data()}, kN, kK, kGroup, section.get());
  std::vector<std::uint8_t> expected(bytes);
  constexpr std::size_t kHigh = 32 * 64 / 2, kS2 = kHigh + 32 * 64 / 4, kO = kS2 + 64, kS1 = kO + 64;
  expected[(1 * 8 + 1) * 64 + 4 * 2 + 1] = 9 << 4;
  expected[kHigh + (1 * 8 + 1) * 32 + 4 * 2 + 1] = 2 << 4;
  expected[(1 * 8 + 4) * 64 + 4 * 2 + 1] = 5;
  expected[kHigh + (1 * 8 + 4) * 32 + 4 * 2 + 1] = 1;
  expected[4 * 10 + 2] = 12 << 4;
  expected[kHigh + 4 * 2 + 2] = 3 << 6;
  expected[4 * 15 + 3] = 15;
  expected[kHigh + 4 * 7 + 3] = 2 << 2;
  expected[kS2 + (1 * 2 + 1) * 16 + 2] = 77;
  expected[kO + (1 * 2 + 1) * 16 + 2] = static_cast<std::uint8_t>(-3);
  std::memcpy(&expected[kS1], s1.data(), kN * sizeof(float));
  std::memcpy(&expected[kS1 + 128], bias.data(), kN * sizeof(float));
  ASSERT_EQ(bytes, kS1 + 2 * 32 * sizeof(float));
  EXPECT_EQ(std::memcmp(section.get(), expected.data(), bytes), 0);
}

TEST(PackedW8, PutsBytesWhereTheDrawingSays) {
  std::vector<std::int8_t> q(20 * 40);
  const std::vector<float> s1(20, 1.0f), bias(20, 2.0f);
  q[18 * 40 + 13] = -9;  // block 1, row 2, step 3, j = 1
  const std::size_t bytes = packed_w8_bytes(20, 40, true);
  const test::Section section = test::make_section(bytes);
  pack_w8({q.data(), s1.data(), bias.data()}, 20, 40, section.get());
  std::vector<std::uint8_t> expected(bytes);
  expected[(1 * 16 + 3) * 64 + 4 * 2 + 1] = static_cast<std::uint8_t>(-9);
  std::memcpy(&expected[32 * 64], s1.data(), 80);
  std::memcpy(&expected[32 * 64 + 128], bias.data(), 80);
  ASSERT_EQ(bytes, 32u * 64 + 128 + 128);
  EXPECT_EQ(std::memcmp(section.get(), expected.data(), bytes), 0);
}

// Changes one byte or float of a sound section, and names what find_fault says.
class Fault : public testing::Test {
 protected:
  static constexpr Shape kShape{1, 20, 128, 64, false, true, Fill::random};
  test::Random random{5};
  test::W4Weights w4{kShape, random};
  test::W6Weights w6{kShape, random};
  test::W8Weights w8{kShape, random};

  // The part of the section that a const view shows.
  template <class T>
  static T* writable(const T* part) {
    return const_cast<T*>(part);
  }
  static std::string text(const char* fault) { return fault ? fault : "none"; }
};

TEST_F(Fault, NoneInASoundMatrix) {
  EXPECT_EQ(text(find_fault(w4.bound)), "none");
  EXPECT_EQ(text(find_fault(w6.bound)), "none");
  EXPECT_EQ(text(find_fault(w8.bound)), "none");
}

TEST_F(Fault, CoarseScale) {
  for (const float bad :
       {-1.0f, std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    writable(w4.bound.s1)[19] = bad;
    writable(w6.bound.s1)[19] = bad;
    writable(w8.bound.s1)[19] = bad;
    EXPECT_EQ(text(find_fault(w4.bound)), "a channel scale (s1) is negative or not finite");
    EXPECT_EQ(text(find_fault(w6.bound)), "a channel scale (s1) is negative or not finite");
    EXPECT_EQ(text(find_fault(w8.bound)), "a channel scale (s1) is negative or not finite");
  }
}

TEST_F(Fault, Bias) {
  writable(w4.bound.bias)[3] = std::numeric_limits<float>::quiet_NaN();
  writable(w8.bound.bias)[3] = -std::numeric_limits<float>::infinity();
  EXPECT_EQ(text(find_fault(w4.bound)), "a bias is not finite");
  EXPECT_EQ(text(find_fault(w8.bound)), "a bias is not finite");
}

TEST_F(Fault, FineScale) {
  writable(w4.bound.s2)[0] = 128;
  EXPECT_EQ(text(find_fault(w4.bound)), "a group scale (s2) is over 127");
  writable(w6.bound.s2)[0] = 128;
  EXPECT_EQ(text(find_fault(w6.bound)), "a group scale (s2) is over 127");
}

TEST_F(Fault, Offset) {
  writable(w4.bound.o)[0] = -128;
  EXPECT_EQ(text(find_fault(w4.bound)), "an offset (o) is -128");
  writable(w6.bound.o)[0] = -128;
  EXPECT_EQ(text(find_fault(w6.bound)), "an offset (o) is -128");
}

TEST_F(Fault, WeightOutOfRange) {
  const std::size_t last_group = (1 * 2 + 1) * kRowBlock + 3;  // block 1, group 1, row 19
  writable(w4.bound.s2)[last_group] = 10;
  writable(w4.bound.o)[last_group] = 27;
  for (std::size_t j = 64; j < 128; ++j) {  // 27 + 10 * 10 = 127 is the most that is allowed
    std::uint8_t& byte = writable(w4.bound.q)[(1 * 16 + j / 8) * 64 + 4 * 3 + j % 4];
    byte = 10 | 10 << 4;
  }
  EXPECT_EQ(text(find_fault(w4.bound)), "none");
  std::uint8_t& last = writable(w4.bound.q)[(1 * 16 + 15) * 64 + 4 * 3 + 3];
  for (const std::uint8_t bad : {10 | 11 << 4, 11 | 10 << 4}) {
    last = bad;
    EXPECT_EQ(text(find_fault(w4.bound)), "a weight is outside -127..127");
  }
}

// One q too large, by its low or its high bits, wherever it stands.
TEST_F(Fault, W6WeightOutOfRange) {
  constexpr std::size_t kN = 32, kK = 64;
  const struct {
    std::int8_t o;
    std::uint8_t good, bad;
  } kCases[] = {{27, 50, 51}, {97, 15, 16}, {97, 15, 32}};  // o + 2 * good = 127
  for (const auto& c : kCases) {
    std::vector<std::uint8_t> q(kN * kK, c.good);
    const std::vector<std::uint8_t> s2(kN, 2);
    const std::vector<std::int8_t> o(kN, c.o);
    const std::vector<float> s1(kN, 1.0f);
    const test::Section section = test::make_section(packed_w6_bytes(kN, kK, kK, false));
    const auto fault = [&] {
      pack_w6({q.data(), s2.data(), o.data(), s1.data(), nullptr}, kN, kK, kK, section.get());
      return text(find_fault(bind_w6(section.get(), kN, kK, kK, false)));
    };
    EXPECT_EQ(fault(), "none");
    for (std::size_t at = 0; at < q.size(); at += 3) {
      q[at] = c.bad;
      EXPECT_EQ(fault(), "a weight is outside -127..127") << at;
      q[at] = c.good;
    }
  }
}

TEST_F(Fault, MinusOneHundredAndTwentyEight) {
  writable(w8.bound.q)[31 * 128] = -128;
  EXPECT_EQ(text(find_fault(w8.bound)), "a weight is -128");
}

TEST_F(Fault, PaddingRows) {
  const std::string expected = "padding rows are not zero";
  const auto with = [&](auto* value, auto bad, const auto& matrix) {
    const auto before = *value;
    *value = bad;
    EXPECT_EQ(text(find_fault(matrix)), expected);
    *value = before;
  };
  with(writable(w4.bound.s1) + 20, 1.0f, w4.bound);
  with(writable(w4.bound.bias) + 31, 1.0f, w4.bound);
  with(writable(w4.bound.s2) + (1 * 2 + 1) * kRowBlock + 4, std::uint8_t{1}, w4.bound);
  with(writable(w4.bound.o) + (1 * 2 + 0) * kRowBlock + 15, std::int8_t{1}, w4.bound);
  with(writable(w6.bound.s2) + (1 * 2 + 1) * kRowBlock + 4, std::uint8_t{1}, w6.bound);
  with(writable(w6.bound.o) + (1 * 2 + 0) * kRowBlock + 15, std::int8_t{1}, w6.bound);
  with(writable(w8.bound.s1) + 20, 1.0f, w8.bound);
  with(writable(w8.bound.q) + (1 * 32 + 31) * 64 + 4 * 4, std::int8_t{1}, w8.bound);
}

}  // namespace
}  // namespace dgq
