// kernels/x86/attention_f16_avx2.cpp - built with -mavx2 -mfma -mf16c (kernels/CMakeLists.txt).
#include <immintrin.h>

#include "kernels/attention_f16_loops.h"
#include "kernels/x86/avx2.h"

namespace dgq {
namespace {

struct Types {
  typedef float F __attribute__((vector_size(32)));
  typedef std::int32_t I __attribute__((vector_size(32)));
  static constexpr std::size_t kTiles = 1;
  DGQ_INLINE static F load_f16(const std::uint16_t* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  DGQ_INLINE static void store_f16(std::uint16_t* p, F v) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
  }
  DGQ_INLINE static F fma(F a, F b, F sum) { return _mm256_fmadd_ps(a, b, sum); }
};

}  // namespace

constinit const AttentionF16 attention_f16_avx2 = AttentionLoops<Types>::kFunctions;

}  // namespace dgq
