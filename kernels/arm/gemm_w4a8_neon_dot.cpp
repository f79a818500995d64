// kernels/arm/gemm_w4a8_neon_dot.cpp - built with -march=armv8.2-a+dotprod (kernels/CMakeLists.txt); see
// gemm_q_loops.h for why nothing else is included.
//
// Decode folds: SDOT of nibbles inside a group, then times s2, plus o times the sum of xq. Prefill expands a
// panel to w8 once, which all rows of x share, and is a plain int8 product from there on.
#include "kernels/arm/dot_neon_dot.h"
#include "kernels/arm/neon.h"

namespace dgq {
namespace {

constexpr std::size_t kStepBytes = 64;  // 16 rows x 8 columns

// The low nibbles are columns k .. k + 3 of 16 rows, the high ones k + 4 .. k + 7; 0..15, so int8 as well.
DGQ_INLINE void load_nibbles(const std::uint8_t* q, int8x16_t (&low)[kVectors], int8x16_t (&high)[kVectors]) {
  for (std::size_t v = 0; v < kVectors; ++v) {
    const uint8x16_t packed = vld1q_u8(q + 16 * v);
    low[v] = vreinterpretq_s8_u8(vandq_u8(packed, vdupq_n_u8(15)));
    high[v] = vreinterpretq_s8_u8(vshrq_n_u8(packed, 4));
  }
}

template <int kLowLane, std::size_t kRows>
DGQ_INLINE void add_packed(int32x4_t (&acc)[kRows][kVectors], const std::uint8_t* q,
                           const int8x16_t (&x16)[kRows]) {
  int8x16_t low[kVectors], high[kVectors];
  load_nibbles(q, low, high);
  for (std::size_t r = 0; r < kRows; ++r) {
    add_step<kLowLane>(acc[r], low, x16[r]);
    add_step<kLowLane + 1>(acc[r], high, x16[r]);
  }
}

// 16 bytes, one per output row, to int32.
DGQ_INLINE void widen(int8x16_t v, int32x4_t (&out)[kVectors]) {
  const int16x8_t low = vmovl_s8(vget_low_s8(v)), high = vmovl_high_s8(v);
  out[0] = vmovl_s16(vget_low_s16(low));
  out[1] = vmovl_high_s16(low);
  out[2] = vmovl_s16(vget_low_s16(high));
  out[3] = vmovl_high_s16(high);
}

struct Fold {
  static constexpr std::size_t kTileRows = 4;

  template <std::size_t kRows>
  DGQ_INLINE static void add(const W4Matrix& w, std::size_t row_block, const QuantizedRows& x, std::size_t i,
                             std::size_t chunk, std::size_t columns, Acc (&acc)[kRows]) {
    const std::size_t begin = row_block * w.padded_k() + chunk * kActBlock;
    const std::uint8_t* q = w.q + begin * (kRowBlock / 2);
    const std::uint8_t* s2 = w.s2 + begin / w.group * kRowBlock;
    const std::int8_t* o = w.o + begin / w.group * kRowBlock;
    for (std::size_t g = 0; g < columns; g += w.group, s2 += kRowBlock, o += kRowBlock) {
      int32x4_t dot[kRows][kVectors];
      for (auto& row : dot)
        for (auto& v : row) v = vdupq_n_s32(0);
      for (std::size_t k = g; k < g + w.group; k += 16, q += 2 * kStepBytes) {
        int8x16_t x16[kRows];
        for (std::size_t r = 0; r < kRows; ++r) x16[r] = vld1q_s8(x.q_of(i + r, chunk) + k);
        add_packed<0>(dot, q, x16);
        add_packed<2>(dot, q + kStepBytes, x16);
      }
      int32x4_t scale[kVectors], offset[kVectors];
      widen(vreinterpretq_s8_u8(vld1q_u8(s2)), scale);  // s2 <= 127
      widen(vld1q_s8(o), offset);
      for (std::size_t r = 0; r < kRows; ++r) {
        int group_sum = 0;
        for (std::size_t k = g; k < g + w.group; k += kSumGroup)
          group_sum += x.sums_of(i + r, chunk)[k / kSumGroup];
        int32x4_t total[kVectors];
        load_acc(acc[r], total);
        for (std::size_t v = 0; v < kVectors; ++v) {
          total[v] = vmlaq_s32(total[v], dot[r][v], scale[v]);
          total[v] = vmlaq_n_s32(total[v], offset[v], group_sum);
        }
        store_acc(total, acc[r]);
      }
    }
  }
};

// w8 = s2 * q + o, in the order n16k4.
class Panel {
 public:
  static constexpr std::size_t kTileRows = 4, kBlocks = 1;

  void load(const W4Matrix& w, std::size_t row_block, std::size_t chunk, std::size_t columns) {
    columns_ = columns;
    const std::size_t begin = chunk * kActBlock;
    const std::uint8_t* q = w.q + (row_block * w.padded_k() + begin) * (kRowBlock / 2);
    const std::size_t fine = (row_block * w.padded_k() + begin) / w.group * kRowBlock;
    for (std::size_t k = 0; k < columns; k += w.group)
      load_group(q + k * (kRowBlock / 2), w.group, w.s2 + fine + k / w.group * kRowBlock,
                 w.o + fine + k / w.group * kRowBlock, q_ + k * kRowBlock);
  }

  template <std::size_t kRows, class Into>
  DGQ_INLINE void add(const QuantizedRows& x, std::size_t i, std::size_t chunk, State* state) const {
    add_expanded<kRows, Into>(q_, columns_, x, i, chunk, state);
  }

 private:
  DGQ_INLINE static void load_group(const std::uint8_t* q, std::size_t group, const std::uint8_t* s2,
                                    const std::int8_t* o, std::int8_t* out) {
    const int8x16_t scales = vreinterpretq_s8_u8(vld1q_u8(s2)), offsets = vld1q_s8(o);
    int8x16_t scale[kVectors], offset[kVectors];
    uint8x16_t rows = vreinterpretq_u8_u32(uint32x4_t{0x00000000, 0x01010101, 0x02020202, 0x03030303});
    for (std::size_t v = 0; v < kVectors; ++v, rows = vaddq_u8(rows, vdupq_n_u8(4))) {
      scale[v] = vqtbl1q_s8(scales, rows);  // each row's byte four times
      offset[v] = vqtbl1q_s8(offsets, rows);
    }
    for (std::size_t k = 0; k < group; k += 8, q += kStepBytes, out += 2 * kStepBytes) {
      int8x16_t low[kVectors], high[kVectors];
      load_nibbles(q, low, high);
      for (std::size_t v = 0; v < kVectors; ++v) {
        vst1q_s8(out + 16 * v, vmlaq_s8(offset[v], low[v], scale[v]));  // modulo 256, and |w8| <= 127
        vst1q_s8(out + kStepBytes + 16 * v, vmlaq_s8(offset[v], high[v], scale[v]));
      }
    }
  }

  alignas(64) std::int8_t q_[kActBlock * kRowBlock];
  std::size_t columns_;
};

}  // namespace

void gemm_w4a8_1x16_neon_dot(const W4Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                             std::size_t block_end, float* y, std::size_t ldy) noexcept {
  decode<Fold>(w, x, block_begin, block_end, y, ldy);
}

void gemm_w4a8_4x16_neon_dot(const W4Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                             std::size_t block_end, float* y, std::size_t ldy) noexcept {
  prefill<Panel, Panel>(w, x, block_begin, block_end, y, ldy);
}

}  // namespace dgq
