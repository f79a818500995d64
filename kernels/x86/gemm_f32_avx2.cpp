// kernels/x86/gemm_f32_avx2.cpp - built with -mavx2 -mfma -mf16c (kernels/CMakeLists.txt); see
// gemm_f32_tile.h for why nothing else is included. 3 x 2 outputs are 12 accumulators: enough chains for two
// fma ports with a latency of 4.
#include "kernels/gemm_f32_tile.h"
#include "kernels/x86/avx2.h"
#include "kernels/x86/vector_avx2.h"

namespace dgq {
namespace {

struct Lanes {
  static constexpr std::size_t kParts = 2;
  using Vector = __m256;
  DGQ_INLINE static __m256 zero() { return _mm256_setzero_ps(); }
  DGQ_INLINE static __m256 load(const float* p) { return pinned(_mm256_loadu_ps(p)); }
  DGQ_INLINE static void store(float* p, __m256 v) { _mm256_storeu_ps(p, v); }
  DGQ_INLINE static __m256 fma(__m256 a, __m256 b, __m256 sum) { return _mm256_fmadd_ps(a, b, sum); }
  template <std::size_t kOutputs>
  DGQ_INLINE static void trees(const __m256 (&sums)[kOutputs][2], float* y) {
    for (std::size_t o = 0; o < kOutputs; ++o) y[o] = tree(sums[o]);
  }
  DGQ_INLINE static float tree(const __m256 (&part)[2]) {
    const __m256 eight = _mm256_add_ps(part[0], part[1]);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
};

}  // namespace

void gemm_f32_3x2_avx2(const F32Matrix& w, const float* x, std::size_t ldx, std::size_t m,
                       std::size_t row_begin, std::size_t row_end, float* y, std::size_t ldy) noexcept {
  f32_gemm<Lanes, 2>(w, x, ldx, m, row_begin, row_end, y, ldy);
}

}  // namespace dgq
