// kernels/x86/quantize_rows_avx2.cpp - built with -mavx2 -mfma -mf16c (kernels/CMakeLists.txt); see
// quantize_rows_loops.h for why nothing else is included.
#include "kernels/quantize_rows_loops.h"
#include "kernels/x86/avx2.h"
#include "kernels/x86/vector_avx2.h"

namespace dgq {
namespace {

struct Run {
  class Largest {
   public:
    DGQ_INLINE void take(const float* x) {
      for (std::size_t j = 0; j < kSumGroup; j += 8)
        most_ = _mm256_max_epi32(most_, _mm256_and_si256(load256(x + j), _mm256_set1_epi32(0x7fffffff)));
    }
    DGQ_INLINE std::uint32_t bits() const {
      __m128i m = _mm_max_epi32(_mm256_castsi256_si128(most_), _mm256_extracti128_si256(most_, 1));
      m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
      m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1));
      return static_cast<std::uint32_t>(_mm_cvtsi128_si32(m));
    }

   private:
    __m256i most_ = _mm256_setzero_si256();
  };

  template <bool kClip>
  DGQ_INLINE static int quantize(const float* x, float inverse, std::int8_t* q) {
    const __m256 scale = _mm256_set1_ps(inverse), limit = _mm256_set1_ps(127);
    __m256i v[4];
    for (std::size_t part = 0; part < 4; ++part) {
      __m256 y = _mm256_mul_ps(_mm256_loadu_ps(x + 8 * part), scale);
      if (kClip) y = _mm256_max_ps(_mm256_min_ps(y, limit), _mm256_sub_ps(_mm256_setzero_ps(), limit));
      v[part] = _mm256_cvtps_epi32(y);  // rounds half to even, the default mode
    }
    // The packs work inside 128-bit halves; the permutation brings groups of four back into order.
    const __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
    store256(q, _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)));
    const __m256i total = _mm256_add_epi32(_mm256_add_epi32(v[0], v[1]), _mm256_add_epi32(v[2], v[3]));
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(total), _mm256_extracti128_si256(total, 1));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1)));
  }

  DGQ_INLINE static void subtract(const float* x, const std::int8_t* q, float scale, float* out) {
    for (std::size_t j = 0; j < kSumGroup; j += 8) {
      const __m256 value = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(load64(q + j)));
      _mm256_storeu_ps(out + j,
                       _mm256_sub_ps(_mm256_loadu_ps(x + j), _mm256_mul_ps(value, _mm256_set1_ps(scale))));
    }
  }
};

}  // namespace

void quantize_rows_avx2(const float* x, std::size_t ldx, std::size_t k, const QuantizedRowsOut& out,
                        std::size_t first, std::size_t rows) noexcept {
  quantize<Run>(x, ldx, k, out, first, rows);
}

void quantize_rows_given_avx2(const float* x, std::size_t ldx, std::size_t k, const QuantizedRowsOut& out,
                              std::size_t first, std::size_t rows, float scale) noexcept {
  quantize_given<Run>(x, ldx, k, out, first, rows, scale);
}

void quantize_rows_twice_avx2(const float* x, std::size_t ldx, std::size_t k, const QuantizedRowsOut& out,
                              std::size_t first, std::size_t rows, std::size_t apart) noexcept {
  quantize_twice<Run>(x, ldx, k, out, first, rows, apart);
}

}  // namespace dgq
