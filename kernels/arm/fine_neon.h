// kernels/arm/fine_neon.h - packed W4 and W6 weights (packed.h) in vectors, for all kernel files of this folder, each with its
// own copy. A vector holds 4 output rows x 4 columns, so 16 rows are kVectors of them.
#pragma once

#include <arm_neon.h>

#include "kernels/gemm_q_loops.h"

namespace dgq {
namespace {

constexpr std::size_t kVectors = kRowBlock / 4;

// The same value, but to the compiler a new one in a register. GCC 12 loads a value with one use right before it, and an
// in-order core waits.
DGQ_INLINE int8x16_t pinned(int8x16_t v) {
  __asm__("" : "+w"(v));
  return v;
}

// q of a step, one per byte and small enough for int8: its first 4 columns and its last.
DGQ_INLINE void load_step(Steps<4> q, int8x16_t (&first)[kVectors], int8x16_t (&last)[kVectors]) {
  for (std::size_t v = 0; v < kVectors; ++v) {
    const uint8x16_t packed = vld1q_u8(q.low + 16 * v);
    first[v] = vreinterpretq_s8_u8(vandq_u8(packed, vdupq_n_u8(15)));
    last[v] = vreinterpretq_s8_u8(vshrq_n_u8(packed, 4));
  }
}
// Nibbles are shifted into, or get shifted into them, a byte of the plane that has their high bits in the right place.
DGQ_INLINE void load_step(Steps<6> q, int8x16_t (&first)[kVectors], int8x16_t (&last)[kVectors]) {
  constexpr std::size_t kHalf = kVectors / 2;
  const uint8x16_t mask = vdupq_n_u8(63);
  for (std::size_t v = 0; v < kHalf; ++v) {
    const uint8x16_t upper = vld1q_u8(q.low + 16 * v), lower = vld1q_u8(q.low + 16 * (v + kHalf));
    const uint8x16_t plane = vld1q_u8(q.high + 16 * v), shifted = vshrq_n_u8(plane, 2);
    first[v] = vreinterpretq_s8_u8(vandq_u8(vsliq_n_u8(upper, plane, 4), mask));
    first[v + kHalf] = vreinterpretq_s8_u8(vandq_u8(vsliq_n_u8(lower, shifted, 4), mask));
    last[v] = vreinterpretq_s8_u8(vandq_u8(vsriq_n_u8(plane, upper, 4), mask));
    last[v + kHalf] = vreinterpretq_s8_u8(vsriq_n_u8(shifted, lower, 4));  // the shift cleared the others
  }
}

// s2 and o of a group, as wide as they are multiplied: dot products of q are int32, sums of xq fit int16.
struct Fine {
  int32x4_t s2[kVectors];
  int16x8_t o[2];
  DGQ_INLINE void load(const std::uint8_t* from_s2, const std::int8_t* from_o) {
    const uint8x16_t bytes = vld1q_u8(from_s2);
    const uint16x8_t low = vmovl_u8(vget_low_u8(bytes)), high = vmovl_high_u8(bytes);
    s2[0] = vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(low)));
    s2[1] = vreinterpretq_s32_u32(vmovl_high_u16(low));
    s2[2] = vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(high)));
    s2[3] = vreinterpretq_s32_u32(vmovl_high_u16(high));
    o[0] = vmovl_s8(vld1_s8(from_o));
    o[1] = vmovl_s8(vld1_s8(from_o + 8));
  }
  // total + s2 * dot + o * sum, for vector v.
  DGQ_INLINE int32x4_t add(std::size_t v, int32x4_t total, int32x4_t dot, std::int16_t sum) const {
    total = vmlaq_s32(total, dot, s2[v]);
    return v % 2 == 0 ? vmlal_n_s16(total, vget_low_s16(o[v / 2]), sum)
                      : vmlal_high_n_s16(total, o[v / 2], sum);
  }
  DGQ_INLINE void add(Acc& acc, const int32x4_t (&dot)[kVectors], std::int16_t sum) const {
    for (std::size_t v = 0; v < kVectors; ++v) {
      std::int32_t* lanes = acc.lane + 4 * v;
      vst1q_s32(lanes, add(v, vld1q_s32(lanes), dot[v], sum));
    }
  }
};

// w8 = s2 * q + o of a chunk. Order::store(out, v, low, high) puts 4 rows x 8 columns, vector v of each half of a step,
// into the step's 128 bytes at out.
template <class Order, int kBits>
DGQ_INLINE void expand(const FineMatrix<kBits>& w, std::size_t row_block, std::size_t chunk,
                       std::size_t columns, std::int8_t* out) {
  const Packed packed(w, row_block, chunk);
  Steps<kBits> q = packed.q;
  for (std::size_t k = 0; k < columns; k += w.group) {
    const int8x16_t scales = vreinterpretq_s8_u8(vld1q_u8(packed.s2 + k / w.group * kRowBlock));
    const int8x16_t offsets = vld1q_s8(packed.o + k / w.group * kRowBlock);
    int8x16_t scale[kVectors], offset[kVectors];
    uint8x16_t rows = vreinterpretq_u8_u32(uint32x4_t{0x00000000, 0x01010101, 0x02020202, 0x03030303});
    for (std::size_t v = 0; v < kVectors; ++v, rows = vaddq_u8(rows, vdupq_n_u8(4))) {
      scale[v] = vqtbl1q_s8(scales, rows);  // each row's byte four times
      offset[v] = vqtbl1q_s8(offsets, rows);
    }
    for (std::size_t step = 0; step < w.group; step += 8, q = q + 1, out += 8 * kRowBlock) {
      int8x16_t first[kVectors], last[kVectors];
      load_step(q, first, last);
      for (std::size_t v = 0; v < kVectors; ++v)  // modulo 256, and |w8| <= 127
        Order::store(out, v, vmlaq_s8(offset[v], first[v], scale[v]), vmlaq_s8(offset[v], last[v], scale[v]));
    }
  }
}

// The Order of packed W8 weights.
struct N16K4 {
  DGQ_INLINE static void store(std::int8_t* out, std::size_t v, int8x16_t low, int8x16_t high) {
    vst1q_s8(out + 16 * v, low);
    vst1q_s8(out + 64 + 16 * v, high);
  }
};

}  // namespace
}  // namespace dgq
