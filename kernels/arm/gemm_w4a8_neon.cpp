// kernels/arm/gemm_w4a8_neon.cpp - for every AArch64 CPU, no extra flags.
//
// A product of a nibble is at most 15 * 127 = 1905 and 16 of them fit an int16 lane: 64 columns in decode, where a lane gets
// every 4th column, and 128 in prefill, where it gets every 8th. Both fold: the sums of a group times s2, plus o times
// the sum of xq. Expanded to w8, only 2 products would fit.
#include "kernels/arm/long_neon.h"
#include "kernels/arm/neon.h"

namespace dgq {
namespace {

template <int kLane, std::size_t kRows>
DGQ_INLINE void add_packed(int16x8_t (&sums)[kRows][kHalves], Steps<4> q, const int8x16_t (&x16)[kRows]) {
  int8x16_t low[kVectors], high[kVectors];
  load_step(q, low, high);
  for (std::size_t r = 0; r < kRows; ++r) {
    const int8x16_t x_low = repeat<kLane>(x16[r]), x_high = repeat<kLane + 1>(x16[r]);
    for (std::size_t v = 0; v < kVectors; ++v) {
      sums[r][2 * v] = vmlal_s8(sums[r][2 * v], vget_low_s8(low[v]), vget_low_s8(x_low));
      sums[r][2 * v + 1] = vmlal_high_s8(sums[r][2 * v + 1], low[v], x_low);
    }
    for (std::size_t v = 0; v < kVectors; ++v) {
      sums[r][2 * v] = vmlal_s8(sums[r][2 * v], vget_low_s8(high[v]), vget_low_s8(x_high));
      sums[r][2 * v + 1] = vmlal_high_s8(sums[r][2 * v + 1], high[v], x_high);
    }
  }
}

struct Fold {
  static constexpr std::size_t kTileRows = 2;
  static constexpr std::size_t kRun = 64;  // columns that int16 lanes can hold

  template <std::size_t kRows>
  DGQ_INLINE static void add(const W4Matrix& w, std::size_t row_block, const QuantizedRows& x, std::size_t i,
                             std::size_t chunk, std::size_t columns, Acc (&acc)[kRows]) {
    Packed packed(w, row_block, chunk);
    const std::size_t run = smaller(kRun, w.group);
    for (std::size_t g = 0; g < columns; g += w.group, packed.s2 += kRowBlock, packed.o += kRowBlock) {
      int32x4_t dot[kRows][kVectors];
      for (auto& row : dot)
        for (auto& v : row) v = vdupq_n_s32(0);
      for (std::size_t begin = g; begin < g + w.group; begin += run) {
        int16x8_t sums[kRows][kHalves];
        for (auto& row : sums)
          for (auto& half : row) half = vdupq_n_s16(0);
        for (std::size_t k = begin; k < begin + run; k += 16, packed.q = packed.q + 2) {
          int8x16_t x16[kRows];
          for (std::size_t r = 0; r < kRows; ++r) x16[r] = vld1q_s8(x.q_of(i + r, chunk) + k);
          add_packed<0>(sums, packed.q, x16);
          add_packed<2>(sums, packed.q + 1, x16);
        }
        for (std::size_t r = 0; r < kRows; ++r)
          for (std::size_t v = 0; v < kVectors; ++v)
            dot[r][v] = vaddq_s32(dot[r][v],
                                  vpaddq_s32(vpaddlq_s16(sums[r][2 * v]), vpaddlq_s16(sums[r][2 * v + 1])));
      }
      Fine fine;
      fine.load(packed.s2, packed.o);
      for (std::size_t r = 0; r < kRows; ++r)
        fine.add(acc[r], dot[r], x.sums_of(i + r, chunk).of_group(g, w.group));
    }
  }
};

// Nibbles, one per byte.
class Panel {
 public:
  static constexpr std::size_t kTileRows = 6, kBlocks = 1;

  void load(const W4Matrix& w, std::size_t row_block, std::size_t chunk, std::size_t columns) {
    const Packed packed(w, row_block, chunk);
    for (std::size_t k = 0; k < columns; k += 16) {
      const Steps<4> q = packed.q + k / 8;
      int8x16_t c0[kVectors], c4[kVectors], c8[kVectors], c12[kVectors];
      load_step(q, c0, c4);
      load_step(q + 1, c8, c12);
      for (std::size_t v = 0; v < kVectors; ++v)
        store_rows(c0[v], c4[v], c8[v], c12[v], q_ + v * kQuadBytes + 4 * k);
    }
    group_ = w.group;
    groups_ = columns / group_;
    for (std::size_t g = 0; g < groups_; ++g)
      fine_[g].load(packed.s2 + g * kRowBlock, packed.o + g * kRowBlock);
  }

  template <std::size_t kRows, class Into>
  DGQ_INLINE void add(const QuantizedRows& x, std::size_t i, std::size_t chunk, State* state) const {
    Acc acc[kRows] = {};
    for (std::size_t g = 0; g < groups_; ++g) {
      std::int16_t sum[kRows];
      for (std::size_t row = 0; row < kRows; ++row)
        sum[row] = x.sums_of(i + row, chunk).of_group(g * group_, group_);
      for (std::size_t v = 0; v < kVectors; ++v) {
        int32x4_t dot[kRows];
        multiply_group(q_ + v * kQuadBytes + 4 * g * group_, x.q_of(i, chunk) + g * group_, dot);
        for (std::size_t row = 0; row < kRows; ++row) {
          std::int32_t* lanes = acc[row].lane + 4 * v;
          vst1q_s32(lanes, fine_[g].add(v, vld1q_s32(lanes), dot[row], sum[row]));
        }
      }
    }
    for (std::size_t row = 0; row < kRows; ++row) Into::add(state[row], acc[row], x, i + row, chunk);
  }

 private:
  // 4 output rows: 24 int16 sums for 6 rows of x, 4 registers of weights, one of x at a time.
  template <std::size_t kRows>
  DGQ_INLINE void multiply_group(const std::int8_t* w, const std::int8_t* xq, int32x4_t (&dot)[kRows]) const {
    int16x8_t sums[kRows][4];
    for (auto& row : sums)
      for (auto& output : row) output = vdupq_n_s16(0);
    for (std::size_t k = 0; k < group_; k += 16, w += 64) {
      int8x16_t weights[4];
      for (std::size_t o = 0; o < 4; ++o) weights[o] = vld1q_s8(w + 16 * o);
#pragma GCC unroll 6
      for (std::size_t row = 0; row < kRows;
           row += 2) {  // two at a time, so that no SMLAL waits for the last one
        const std::size_t rows = smaller(2, kRows - row);
        int8x16_t x16[2];
        for (std::size_t r = 0; r < rows; ++r) x16[r] = vld1q_s8(xq + (row + r) * kActBlock + k);
        for (std::size_t r = 0; r < rows; ++r)
          for (std::size_t o = 0; o < 4; ++o)
            sums[row + r][o] = vmlal_s8(sums[row + r][o], vget_low_s8(weights[o]), vget_low_s8(x16[r]));
        for (std::size_t r = 0; r < rows; ++r)
          for (std::size_t o = 0; o < 4; ++o)
            sums[row + r][o] = vmlal_high_s8(sums[row + r][o], weights[o], x16[r]);
      }
    }
    for (std::size_t row = 0; row < kRows; ++row)
      dot[row] = sum_lanes(vpaddlq_s16(sums[row][0]), vpaddlq_s16(sums[row][1]), vpaddlq_s16(sums[row][2]),
                           vpaddlq_s16(sums[row][3]));
  }

  alignas(64) std::int8_t q_[kActBlock * kRowBlock];
  Fine fine_[kSumsPerChunk];  // of each group
  std::size_t group_, groups_;
};

}  // namespace

void gemm_w4a8_1x16_neon(const W4Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                         std::size_t block_end, float* y, std::size_t ldy) noexcept {
  decode<Fold>(w, x, block_begin, block_end, y, ldy);
}

void gemm_w4a8_6x4_neon(const W4Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                        std::size_t block_end, float* y, std::size_t ldy) noexcept {
  prefill<Panel>(w, x, block_begin, block_end, y, ldy);
}

}  // namespace dgq
