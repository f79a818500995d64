// kernels/x86/gemm_f32_avx512vnni.cpp - built with AVX-512 (kernels/CMakeLists.txt). 3 x 8 outputs are 24 accumulators: few
// enough loads for each fma, and eight sums of lanes make one vector of results.
#include <immintrin.h>

#include "kernels/gemm_f32_tile.h"

namespace dgq {
namespace {

struct Lanes {
  static constexpr std::size_t kParts = 1;
  using Vector = __m512;
  DGQ_INLINE static __m512 zero() { return _mm512_setzero_ps(); }
  // A value in a register: GCC 12 would load it again for every fma that uses it.
  DGQ_INLINE static __m512 load(const float* p) {
    __m512 v = _mm512_loadu_ps(p);
    __asm__("" : "+v"(v));
    return v;
  }
  DGQ_INLINE static void store(float* p, __m512 v) { _mm512_storeu_ps(p, v); }
  DGQ_INLINE static __m512 fma(__m512 a, __m512 b, __m512 sum) { return _mm512_fmadd_ps(a, b, sum); }

  DGQ_INLINE static void trees(const __m512 (&sums)[1][1], float* y) {
    const __m512 v = sums[0][0];
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v), _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1)));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    *y = _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }

  // Eight trees at once: each step adds halves of two vectors and puts the results side by side.
  DGQ_INLINE static void trees(const __m512 (&sums)[8][1], float* y) {
    __m512 two[4];  // lanes of outputs o and o + 4, 8 each
    for (std::size_t o = 0; o < 4; ++o) {
      const __m512 a = sums[o][0], b = sums[o + 4][0];
      two[o] = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
    }
    __m512 four[2];  // lanes of outputs o, o + 2, o + 4, o + 6, 4 each
    for (std::size_t o = 0; o < 2; ++o)
      four[o] = _mm512_add_ps(_mm512_shuffle_f32x4(two[o], two[o + 2], 0x88),
                              _mm512_shuffle_f32x4(two[o], two[o + 2], 0xdd));
    // Quarters are outputs 0, 4, 2, 6 of four[0] and 1, 5, 3, 7 of four[1].
    const __m512 pairs = _mm512_add_ps(_mm512_shuffle_ps(four[0], four[1], 0x44),
                                       _mm512_shuffle_ps(four[0], four[1], 0xee));
    const __m512 ones = _mm512_add_ps(pairs, _mm512_permute_ps(pairs, 0xb1));
    // Lanes 0 and 2 of the quarters: outputs 0, 1; 4, 5; 2, 3; 6, 7.
    const __m512i places = _mm512_setr_epi32(0, 2, 8, 10, 4, 6, 12, 14, 0, 0, 0, 0, 0, 0, 0, 0);
    _mm256_storeu_ps(y, _mm512_castps512_ps256(_mm512_permutexvar_ps(places, ones)));
  }
};

}  // namespace

void gemm_f32_3x8_avx512vnni(const F32Matrix& w, const float* x, std::size_t ldx, std::size_t m,
                             std::size_t row_begin, std::size_t row_end, float* y, std::size_t ldy) noexcept {
  f32_gemm<Lanes, 8>(w, x, ldx, m, row_begin, row_end, y, ldy);
}

}  // namespace dgq
