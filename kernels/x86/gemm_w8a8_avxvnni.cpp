// kernels/x86/gemm_w8a8_avxvnni.cpp - built with -mavx2 -mfma -mf16c -mavxvnni (kernels/CMakeLists.txt); see
// gemm_q_loops.h for why nothing else is included.
#include "kernels/x86/avxvnni.h"
#include "kernels/x86/dot_avxvnni.h"

namespace dgq {
namespace {

struct Fold {
  static constexpr std::size_t kTileRows = 4;

  template <std::size_t kRows>
  DGQ_INLINE static void add(const W8Matrix& w, std::size_t row_block, const QuantizedRows& x, std::size_t i,
                             std::size_t chunk, std::size_t columns, Acc (&acc)[kRows]) {
    const std::int8_t* q = packed_chunk(w, row_block, chunk);
    constexpr std::size_t kChains = kRows == 1 ? 2 : 1;
    __m256i sum[kRows][2][kChains];
    for (std::size_t r = 0; r < kRows; ++r) {
      const __m256i start = _mm256_set1_epi32(x.sums_of(i + r, chunk).minus_128);
      for (std::size_t half = 0; half < 2; ++half) {
        sum[r][half][kChains - 1] = _mm256_setzero_si256();
        sum[r][half][0] = _mm256_add_epi32(load256(acc[r].lane + 8 * half), start);
      }
    }
    for (std::size_t k = 0; k < columns; k += 8, q += 2 * kStepBytes) {
#pragma GCC unroll 2
      for (std::size_t part = 0; part < 2; ++part) {
        prefetch(q + part * kStepBytes);
#pragma GCC unroll 2
        for (std::size_t half = 0; half < 2; ++half) {
          const __m256i weights =
              _mm256_xor_si256(load256(q + part * kStepBytes + 32 * half), _mm256_set1_epi8(-128));
#pragma GCC unroll 4
          for (std::size_t r = 0; r < kRows; ++r) {
            __m256i& chain = sum[r][half][part % kChains];
            chain = dot4(chain, weights, broadcast32(x.q_of(i + r, chunk) + k + 4 * part));
          }
        }
      }
    }
    for (std::size_t r = 0; r < kRows; ++r) {
      for (std::size_t half = 0; half < 2; ++half) {
        __m256i total = sum[r][half][0];
        if constexpr (kChains == 2) total = _mm256_add_epi32(total, sum[r][half][1]);
        store256(acc[r].lane + 8 * half, total);
      }
    }
  }
};

}  // namespace

void gemm_w8a8_1x16_avxvnni(const W8Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                            std::size_t block_end, float* y, std::size_t ldy) noexcept {
  decode<Fold>(w, x, block_begin, block_end, y, ldy);
}

void gemm_w8a8_6x16_avxvnni(const W8Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                            std::size_t block_end, float* y, std::size_t ldy) noexcept {
  prefill<Panel>(w, x, block_begin, block_end, y, ldy);
}

}  // namespace dgq
