// kernels/arm/attention_f16_neon.cpp - for every AArch64 CPU, no extra flags.
#include <arm_neon.h>

#include "kernels/arm/neon.h"
#include "kernels/attention_f16_loops.h"

namespace dgq {
namespace {

struct Types {
  typedef float F __attribute__((vector_size(16)));
  typedef std::int32_t I __attribute__((vector_size(16)));
  static constexpr std::size_t kTiles = 1;
  DGQ_INLINE static F load_f16(const std::uint16_t* p) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
  }
  DGQ_INLINE static void store_f16(std::uint16_t* p, F v) {
    vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(v)));
  }
  DGQ_INLINE static F fma(F a, F b, F sum) { return vfmaq_f32(sum, a, b); }
};

}  // namespace

constinit const AttentionF16 attention_f16_neon = AttentionLoops<Types>::kFunctions;

}  // namespace dgq
