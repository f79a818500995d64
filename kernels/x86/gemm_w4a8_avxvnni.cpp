// kernels/x86/gemm_w4a8_avxvnni.cpp - built with -mavx2 -mfma -mf16c -mavxvnni (kernels/CMakeLists.txt); see
// gemm_q_loops.h for why nothing else is included. W6 differs in how q is unpacked only, so its kernels are here too.
#include "kernels/x86/avxvnni.h"
#include "kernels/x86/dot_avxvnni.h"

namespace dgq {
namespace {

// Inside a group vpdpbusd of nibbles; then times s2, plus o times the sum of xq.
struct Fold {
  static constexpr std::size_t kTileRows = 4;

  template <std::size_t kRows, int kBits>
  DGQ_INLINE static void add(const FineMatrix<kBits>& w, std::size_t row_block, const QuantizedRows& x,
                             std::size_t i, std::size_t chunk, std::size_t columns, Acc (&acc)[kRows]) {
    auto [q, s2, o] = Packed(w, row_block, chunk);
    constexpr std::size_t kChains = kRows == 1 ? 2 : 1;  // for each half: one row alone would wait for itself
    for (std::size_t g = 0; g < columns; g += w.group, s2 += kRowBlock, o += kRowBlock) {
      __m256i dot[kRows][2][kChains];
      for (auto& row : dot)
        for (auto& half : row)
          for (__m256i& chain : half) chain = _mm256_setzero_si256();
      for (std::size_t k = g; k < g + w.group; k += 8, q = q + 1) {
        prefetch(q);
#pragma GCC unroll 2
        for (std::size_t half = 0; half < 2; ++half) {
          const auto [low, high] = load_step(q, half);
#pragma GCC unroll 4
          for (std::size_t r = 0; r < kRows; ++r) {
            const std::int8_t* xq = x.q_of(i + r, chunk) + k;
            dot[r][half][0] = dot4(dot[r][half][0], low, broadcast32(xq));
            dot[r][half][kChains - 1] = dot4(dot[r][half][kChains - 1], high, broadcast32(xq + 4));
          }
        }
      }
#pragma GCC unroll 4
      for (std::size_t r = 0; r < kRows; ++r) {
        const int group_sum = x.sums_of(i + r, chunk).of_group(g, w.group);
#pragma GCC unroll 2
        for (std::size_t half = 0; half < 2; ++half) {
          __m256i sum = dot[r][half][0];
          if constexpr (kChains == 2) sum = _mm256_add_epi32(sum, dot[r][half][1]);
          sum = _mm256_mullo_epi32(sum, _mm256_cvtepu8_epi32(load64(s2 + 8 * half)));
          const __m256i offset = _mm256_cvtepi8_epi32(load64(o + 8 * half));
          sum = _mm256_add_epi32(sum, _mm256_mullo_epi32(offset, _mm256_set1_epi32(group_sum)));
          std::int32_t* lanes = acc[r].lane + 8 * half;
          store256(lanes, _mm256_add_epi32(load256(lanes), sum));
        }
      }
    }
  }
};

}  // namespace

void gemm_w4a8_1x16_avxvnni(const W4Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                            std::size_t block_end, float* y, std::size_t ldy) noexcept {
  decode<Fold>(w, x, block_begin, block_end, y, ldy);
}

void gemm_w6a8_1x16_avxvnni(const W6Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                            std::size_t block_end, float* y, std::size_t ldy) noexcept {
  decode<Fold>(w, x, block_begin, block_end, y, ldy);
}

void gemm_w4a8_6x16_avxvnni(const W4Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                            std::size_t block_end, float* y, std::size_t ldy) noexcept {
  prefill<Panel>(w, x, block_begin, block_end, y, ldy);
}

void gemm_w6a8_6x16_avxvnni(const W6Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                            std::size_t block_end, float* y, std::size_t ldy) noexcept {
  prefill<Panel>(w, x, block_begin, block_end, y, ldy);
}

}  // namespace dgq
