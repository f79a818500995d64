// kernels/arm/gemm_f32_neon.cpp - for every AArch64 CPU, no extra flags. 3 x 2 outputs are 24 of the 32
// registers.
#include <arm_neon.h>

#include "kernels/arm/neon.h"
#include "kernels/gemm_f32_tile.h"

namespace dgq {
namespace {

struct Lanes {
  static constexpr std::size_t kParts = 4;
  using Vector = float32x4_t;
  DGQ_INLINE static float32x4_t zero() { return vdupq_n_f32(0); }
  DGQ_INLINE static float32x4_t load(const float* p) { return vld1q_f32(p); }
  DGQ_INLINE static void store(float* p, float32x4_t v) { vst1q_f32(p, v); }
  DGQ_INLINE static float32x4_t fma(float32x4_t a, float32x4_t b, float32x4_t sum) {
    return vfmaq_f32(sum, a, b);
  }
  template <std::size_t kOutputs>
  DGQ_INLINE static void trees(const float32x4_t (&sums)[kOutputs][4], float* y) {
    for (std::size_t o = 0; o < kOutputs; ++o) y[o] = tree(sums[o]);
  }
  DGQ_INLINE static float tree(const float32x4_t (&part)[4]) {
    const float32x4_t four = vaddq_f32(vaddq_f32(part[0], part[2]), vaddq_f32(part[1], part[3]));
    const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
  }
};

}  // namespace

void gemm_f32_3x2_neon(const F32Matrix& w, const float* x, std::size_t ldx, std::size_t m,
                       std::size_t row_begin, std::size_t row_end, float* y, std::size_t ldy) noexcept {
  f32_gemm<Lanes, 2>(w, x, ldx, m, row_begin, row_end, y, ldy);
}

}  // namespace dgq
