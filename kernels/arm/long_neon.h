// kernels/arm/long_neon.h - what the neon kernel files share, each with its own copy. No SDOT: SMULL and SMLAL multiply 8
// int8 pairs into int16 lanes, and what those hold is widened by pairs to int32.
#pragma once

#include "kernels/arm/fine_neon.h"

namespace dgq {
namespace {

constexpr std::size_t kHalves = 2 * kVectors;  // registers with 2 output rows each

// Decode: 4 columns of x for each of 4 output rows.
template <int kLane>
DGQ_INLINE int8x16_t repeat(int8x16_t x16) {
  return vreinterpretq_s8_s32(vdupq_laneq_s32(vreinterpretq_s32_s8(x16), kLane));
}

// Lanes of four registers to their sums.
DGQ_INLINE int32x4_t sum_lanes(int32x4_t a, int32x4_t b, int32x4_t c, int32x4_t d) {
  return vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d));
}

// Prefill: 4 output rows at a time, 16 columns of one row in a register, so that x needs no repeating. The panel holds
// for each quad of output rows, for each 16 columns, the quad's 4 registers.
constexpr std::size_t kQuadBytes = 4 * kActBlock;

// From 4 registers of 4 rows x 4 columns, column after column, to 4 of 1 row x 16 columns.
DGQ_INLINE void store_rows(int8x16_t c0, int8x16_t c4, int8x16_t c8, int8x16_t c12, std::int8_t* out) {
  const int32x4_t a = vreinterpretq_s32_s8(c0), b = vreinterpretq_s32_s8(c4), c = vreinterpretq_s32_s8(c8),
                  d = vreinterpretq_s32_s8(c12);
  const int64x2_t ab[2] = {vreinterpretq_s64_s32(vzip1q_s32(a, b)), vreinterpretq_s64_s32(vzip2q_s32(a, b))};
  const int64x2_t cd[2] = {vreinterpretq_s64_s32(vzip1q_s32(c, d)), vreinterpretq_s64_s32(vzip2q_s32(c, d))};
  for (std::size_t r = 0; r < 2; ++r) {
    vst1q_s8(out + 32 * r, vreinterpretq_s8_s64(vzip1q_s64(ab[r], cd[r])));
    vst1q_s8(out + 32 * r + 16, vreinterpretq_s8_s64(vzip2q_s64(ab[r], cd[r])));
  }
}

// Prefill of weights of 8 bits, two products in an int16 lane.
class LongPanel {
 public:
  static constexpr std::size_t kTileRows = 4, kBlocks = 1;

  template <std::size_t kRows, class Into>
  DGQ_INLINE void add(const QuantizedRows& x, std::size_t i, std::size_t chunk, State* state) const {
    Acc acc[kRows];
    for (std::size_t v = 0; v < kVectors; ++v) {
      int32x4_t sums[kRows][4];
      for (auto& row : sums)
        for (auto& output : row) output = vdupq_n_s32(0);
      const std::int8_t* w = q_ + v * kQuadBytes;
      for (std::size_t k = 0; k < columns_; k += 16, w += 64) {
        int8x16_t weights[4];
        for (std::size_t o = 0; o < 4; ++o) weights[o] = vld1q_s8(w + 16 * o);
        for (std::size_t row = 0; row < kRows; ++row) {
          const int8x16_t x16 = vld1q_s8(x.q_of(i + row, chunk) + k);
          int16x8_t pairs[4];
          for (std::size_t o = 0; o < 4; ++o) pairs[o] = vmull_s8(vget_low_s8(weights[o]), vget_low_s8(x16));
          for (std::size_t o = 0; o < 4; ++o) pairs[o] = vmlal_high_s8(pairs[o], weights[o], x16);
          for (std::size_t o = 0; o < 4; ++o) sums[row][o] = vpadalq_s16(sums[row][o], pairs[o]);
        }
      }
      for (std::size_t row = 0; row < kRows; ++row)
        vst1q_s32(acc[row].lane + 4 * v, sum_lanes(sums[row][0], sums[row][1], sums[row][2], sums[row][3]));
    }
    for (std::size_t row = 0; row < kRows; ++row) Into::add(state[row], acc[row], x, i + row, chunk);
  }

 protected:
  // q: 16 output rows in the order n16k4.
  DGQ_INLINE void transpose(const std::int8_t* q, std::size_t columns) {
    columns_ = columns;
    for (std::size_t k = 0; k < columns; k += 16, q += 256)
      for (std::size_t v = 0; v < kVectors; ++v) {
        const std::int8_t* c = q + 16 * v;
        store_rows(vld1q_s8(c), vld1q_s8(c + 64), vld1q_s8(c + 128), vld1q_s8(c + 192),
                   q_ + v * kQuadBytes + 4 * k);
      }
  }

 private:
  alignas(64) std::int8_t q_[kActBlock * kRowBlock];
  std::size_t columns_;
};

}  // namespace
}  // namespace dgq
