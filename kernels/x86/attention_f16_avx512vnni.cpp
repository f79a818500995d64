// kernels/x86/attention_f16_avx512vnni.cpp - built with the AVX-512 flags of kernels/CMakeLists.txt.
#include <immintrin.h>

#include "kernels/attention_f16_loops.h"
#include "kernels/x86/avx512vnni.h"

namespace dgq {
namespace {

struct Types {
  typedef float F __attribute__((vector_size(64)));
  typedef std::int32_t I __attribute__((vector_size(64)));
  static constexpr std::size_t kTiles = 4;
  DGQ_INLINE static F load_f16(const std::uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  DGQ_INLINE static void store_f16(std::uint16_t* p, F v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
  }
  DGQ_INLINE static F fma(F a, F b, F sum) { return _mm512_fmadd_ps(a, b, sum); }
};

}  // namespace

constinit const AttentionF16 attention_f16_avx512vnni = AttentionLoops<Types>::kFunctions;

}  // namespace dgq
