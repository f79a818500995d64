// kernels/arm/gemm_w8a8_neon.cpp - for every AArch64 CPU, no extra flags. Two products, at most 2 * 127 * 127 = 32258, fit
// an int16 lane; SADALP adds them to int32.
#include "kernels/arm/long_neon.h"
#include "kernels/arm/neon.h"

namespace dgq {
namespace {

template <int kLane, std::size_t kRows>
DGQ_INLINE void add_step(int32x4_t (&sums)[kRows][kHalves], const std::int8_t* w,
                         const int8x16_t (&x16)[kRows]) {
  int8x16_t w0[kVectors], w4[kVectors];
  for (std::size_t v = 0; v < kVectors; ++v) w0[v] = vld1q_s8(w + 16 * v);
  for (std::size_t v = 0; v < kVectors; ++v) w4[v] = vld1q_s8(w + 64 + 16 * v);
  for (std::size_t r = 0; r < kRows; ++r) {
    const int8x16_t x0 = repeat<kLane>(x16[r]), x4 = repeat<kLane + 1>(x16[r]);
    int16x8_t pairs[kHalves];
    for (std::size_t v = 0; v < kVectors; ++v) {
      pairs[2 * v] = vmull_s8(vget_low_s8(w0[v]), vget_low_s8(x0));
      pairs[2 * v + 1] = vmull_high_s8(w0[v], x0);
    }
    for (std::size_t v = 0; v < kVectors; ++v) {
      pairs[2 * v] = vmlal_s8(pairs[2 * v], vget_low_s8(w4[v]), vget_low_s8(x4));
      pairs[2 * v + 1] = vmlal_high_s8(pairs[2 * v + 1], w4[v], x4);
    }
    for (std::size_t v = 0; v < kHalves; ++v) sums[r][v] = vpadalq_s16(sums[r][v], pairs[v]);
  }
}

struct Fold {
  static constexpr std::size_t kTileRows = 1;  // two spill, which costs what the shared loads save

  template <std::size_t kRows>
  DGQ_INLINE static void add(const W8Matrix& w, std::size_t row_block, const QuantizedRows& x, std::size_t i,
                             std::size_t chunk, std::size_t columns, Acc (&acc)[kRows]) {
    const std::int8_t* q = packed_chunk(w, row_block, chunk);
    int32x4_t sums[kRows][kHalves];
    for (auto& row : sums)
      for (auto& half : row) half = vdupq_n_s32(0);
    for (std::size_t k = 0; k < columns; k += 16, q += 256) {
      int8x16_t x16[kRows];
      for (std::size_t r = 0; r < kRows; ++r) x16[r] = vld1q_s8(x.q_of(i + r, chunk) + k);
      add_step<0>(sums, q, x16);
      add_step<2>(sums, q + 128, x16);
    }
    for (std::size_t r = 0; r < kRows; ++r) {
      for (std::size_t v = 0; v < kVectors; ++v) {
        std::int32_t* lanes = acc[r].lane + 4 * v;
        vst1q_s32(lanes, vaddq_s32(vld1q_s32(lanes), vpaddq_s32(sums[r][2 * v], sums[r][2 * v + 1])));
      }
    }
  }
};

class Panel : public LongPanel {
 public:
  void load(const W8Matrix& w, std::size_t row_block, std::size_t chunk, std::size_t columns) {
    transpose(packed_chunk(w, row_block, chunk), columns);
  }
};

}  // namespace

void gemm_w8a8_1x16_neon(const W8Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                         std::size_t block_end, float* y, std::size_t ldy) noexcept {
  decode<Fold>(w, x, block_begin, block_end, y, ldy);
}

void gemm_w8a8_4x4_neon(const W8Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                        std::size_t block_end, float* y, std::size_t ldy) noexcept {
  prefill<Panel>(w, x, block_begin, block_end, y, ldy);
}

}  // namespace dgq
