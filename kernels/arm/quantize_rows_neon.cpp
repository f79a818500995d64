// kernels/arm/quantize_rows_neon.cpp - for every AArch64 CPU, no extra flags.
#include <arm_neon.h>

#include "kernels/arm/neon.h"
#include "kernels/quantize_rows_loops.h"

namespace dgq {
namespace {

struct Run {
  class Largest {
   public:
    DGQ_INLINE void take(const float* x) {
      for (std::size_t j = 0; j < kSumGroup; j += 4)
        most_ =
            vmaxq_u32(most_, vbicq_u32(vreinterpretq_u32_f32(vld1q_f32(x + j)), vdupq_n_u32(0x80000000u)));
    }
    DGQ_INLINE std::uint32_t bits() const { return vmaxvq_u32(most_); }

   private:
    uint32x4_t most_ = vdupq_n_u32(0);
  };

  template <bool kClip>
  DGQ_INLINE static int32x4_t round(const float* x, float inverse) {
    float32x4_t y = vmulq_n_f32(vld1q_f32(x), inverse);
    if (kClip) y = vmaxq_f32(vminq_f32(y, vdupq_n_f32(127)), vdupq_n_f32(-127));
    return vcvtnq_s32_f32(y);  // half to even
  }

  template <bool kClip>
  DGQ_INLINE static int quantize(const float* x, float inverse, std::int8_t* q) {
    int32x4_t total = vdupq_n_s32(0);
    for (std::size_t j = 0; j < kSumGroup; j += 8) {
      const int32x4_t a = round<kClip>(x + j, inverse), b = round<kClip>(x + j + 4, inverse);
      vst1_s8(q + j, vmovn_s16(vcombine_s16(vmovn_s32(a), vmovn_s32(b))));
      total = vaddq_s32(total, vaddq_s32(a, b));
    }
    return vaddvq_s32(total);
  }

  DGQ_INLINE static void subtract(const float* x, const std::int8_t* q, float scale, float* out) {
    for (std::size_t j = 0; j < kSumGroup; j += 8) {
      const int16x8_t wide = vmovl_s8(vld1_s8(q + j));
      const float32x4_t low = vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide))),
                        high = vcvtq_f32_s32(vmovl_high_s16(wide));
      vst1q_f32(out + j, vsubq_f32(vld1q_f32(x + j), vmulq_n_f32(low, scale)));
      vst1q_f32(out + j + 4, vsubq_f32(vld1q_f32(x + j + 4), vmulq_n_f32(high, scale)));
    }
  }
};

}  // namespace

void quantize_rows_neon(const float* x, std::size_t ldx, std::size_t k, const QuantizedRowsOut& out,
                        std::size_t first, std::size_t rows) noexcept {
  quantize<Run>(x, ldx, k, out, first, rows);
}

void quantize_rows_given_neon(const float* x, std::size_t ldx, std::size_t k, const QuantizedRowsOut& out,
                              std::size_t first, std::size_t rows, float scale) noexcept {
  quantize_given<Run>(x, ldx, k, out, first, rows, scale);
}

void quantize_rows_twice_neon(const float* x, std::size_t ldx, std::size_t k, const QuantizedRowsOut& out,
                              std::size_t first, std::size_t rows, std::size_t apart) noexcept {
  quantize_twice<Run>(x, ldx, k, out, first, rows, apart);
}

}  // namespace dgq
