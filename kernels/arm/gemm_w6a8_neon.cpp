// kernels/arm/gemm_w6a8_neon.cpp - for every AArch64 CPU, no extra flags.
//
// A product of q is at most 63 * 127 = 8001 and 4 of them fit an int16 lane: 16 columns in decode, where a lane gets every
// 4th column. Prefill expands to w8 and goes on as W8 does: folding there would be 10 % fewer instructions with groups of 128,
// and 12 % more with groups of 32.
#include "kernels/arm/long_neon.h"
#include "kernels/arm/neon.h"

namespace dgq {
namespace {

DGQ_INLINE void add_columns(int16x8_t (&pairs)[kHalves], const int8x16_t (&w)[kVectors], int8x16_t x) {
  for (std::size_t v = 0; v < kVectors; ++v) {
    pairs[2 * v] = vmlal_s8(pairs[2 * v], vget_low_s8(w[v]), vget_low_s8(x));
    pairs[2 * v + 1] = vmlal_high_s8(pairs[2 * v + 1], w[v], x);
  }
}

// 16 columns of one row of x. One step after the other, for want of registers.
DGQ_INLINE void add_packed(int32x4_t (&sums)[kHalves], Steps<6> q, int8x16_t x16) {
  int8x16_t first[kVectors], last[kVectors];
  int16x8_t pairs[kHalves];
  load_step(q, first, last);
  const int8x16_t x0 = repeat<0>(x16);
  for (std::size_t v = 0; v < kVectors; ++v) {
    pairs[2 * v] = vmull_s8(vget_low_s8(first[v]), vget_low_s8(x0));
    pairs[2 * v + 1] = vmull_high_s8(first[v], x0);
  }
  add_columns(pairs, last, repeat<1>(x16));
  load_step(q + 1, first, last);
  add_columns(pairs, first, repeat<2>(x16));
  add_columns(pairs, last, repeat<3>(x16));
  for (std::size_t v = 0; v < kHalves; ++v) sums[v] = vpadalq_s16(sums[v], pairs[v]);
}

struct Fold {
  static constexpr std::size_t kTileRows = 1;  // two would spill

  template <std::size_t kRows>
  DGQ_INLINE static void add(const W6Matrix& w, std::size_t row_block, const QuantizedRows& x, std::size_t i,
                             std::size_t chunk, std::size_t columns, Acc (&acc)[kRows]) {
    static_assert(kRows == 1);
    Packed packed(w, row_block, chunk);
    for (std::size_t g = 0; g < columns; g += w.group, packed.s2 += kRowBlock, packed.o += kRowBlock) {
      int32x4_t sums[kHalves], dot[kVectors];
      for (auto& half : sums) half = vdupq_n_s32(0);
      for (std::size_t k = g; k < g + w.group; k += 16, packed.q = packed.q + 2)
        add_packed(sums, packed.q, pinned(vld1q_s8(x.q_of(i, chunk) + k)));
      for (std::size_t v = 0; v < kVectors; ++v) dot[v] = vpaddq_s32(sums[2 * v], sums[2 * v + 1]);
      Fine fine;
      fine.load(packed.s2, packed.o);
      fine.add(acc[0], dot, x.sums_of(i, chunk).of_group(g, w.group));
    }
  }
};

class Panel : public LongPanel {
 public:
  void load(const W6Matrix& w, std::size_t row_block, std::size_t chunk, std::size_t columns) {
    alignas(64) std::int8_t w8[kActBlock * kRowBlock];
    expand<N16K4>(w, row_block, chunk, columns, w8);
    transpose(w8, columns);
  }
};

}  // namespace

void gemm_w6a8_1x16_neon(const W6Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                         std::size_t block_end, float* y, std::size_t ldy) noexcept {
  decode<Fold>(w, x, block_begin, block_end, y, ldy);
}

void gemm_w6a8_4x4_neon(const W6Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                        std::size_t block_end, float* y, std::size_t ldy) noexcept {
  prefill<Panel>(w, x, block_begin, block_end, y, ldy);
}

}  // namespace dgq
