// kernels/arm/long_neon.h - what the neon kernel files share, each with its own copy. No SDOT: SMULL and SMLAL multiply 8
// int8 pairs into int16 lanes, and what those hold is widened by pairs to int32.
#pragma once

#include "kernels/arm/w4_neon.h"

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

}  // namespace
}  // namespace dgq
