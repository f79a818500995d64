// kernels/x86/gemm_w8a8_avx2.cpp - built with -mavx2 -mfma -mf16c (kernels/CMakeLists.txt); see
// gemm_q_loops.h for why nothing else is included.
#include "kernels/gemm_q_loops.h"
#include "kernels/x86/avx2.h"
#include "kernels/x86/prefetch.h"
#include "kernels/x86/vector_avx2.h"

namespace dgq {
namespace {

constexpr std::size_t kStepBytes = 64;  // 16 rows x 4 columns

// 8 output rows x 4 columns. vpmaddubsw wants an unsigned operand: |w| * (x with the sign of w), pairs up to
// 2*127*127 = 32258 fit int16 but do not add up there, so widen at once.
DGQ_INLINE __m256i add_step(__m256i acc, __m256i w, __m256i x) {
  const __m256i pairs16 = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
  return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs16, _mm256_set1_epi16(1)));
}

template <Lines kLines>
struct Fold {
  static constexpr std::size_t kTileRows = 4;

  template <std::size_t kRows>
  DGQ_INLINE static void add(const W8Matrix& w, std::size_t row_block, const QuantizedRows& x, std::size_t i,
                             std::size_t chunk, std::size_t columns, Acc (&acc)[kRows]) {
    const std::int8_t* q = packed_chunk(w, row_block, chunk);
    __m256i acc0[kRows], acc1[kRows];
    for (std::size_t r = 0; r < kRows; ++r)
      acc0[r] = load256(acc[r].lane), acc1[r] = load256(acc[r].lane + 8);
    for (std::size_t k = 0; k < columns; k += 4, q += kStepBytes) {
      if constexpr (kLines == Lines::asked_for) prefetch(q);
      const __m256i w0 = load256(q), w1 = load256(q + 32);
#pragma GCC unroll 4
      for (std::size_t r = 0; r < kRows; ++r) {
        const __m256i x4 = broadcast32(x.q_of(i + r, chunk) + k);
        acc0[r] = add_step(acc0[r], w0, x4);
        acc1[r] = add_step(acc1[r], w1, x4);
      }
    }
    for (std::size_t r = 0; r < kRows; ++r)
      store256(acc[r].lane, acc0[r]), store256(acc[r].lane + 8, acc1[r]);
  }
};

// Weights widened to int16, two columns side by side for each row: one vpmaddwd is 8 rows x 2 columns in
// int32. That is 4 instructions for 32 products, as with the signs above, but 2 of them are additions, which
// more ports take.
class Panel {
 public:
  static constexpr std::size_t kTileRows = 4, kBlocks = 1;

  void load(const W8Matrix& w, std::size_t row_block, std::size_t chunk, std::size_t columns) {
    columns_ = columns;
    const std::int8_t* packed = packed_chunk(w, row_block, chunk);
    for (std::size_t part = 0; part < columns / 4 * 2; ++part) {  // 8 rows x 4 columns each
      const std::int8_t* bytes = packed + 32 * part;
      const __m256i a = _mm256_cvtepi8_epi16(load128(bytes));       // rows 0-3, a pair of pairs each
      const __m256i b = _mm256_cvtepi8_epi16(load128(bytes + 16));  // rows 4-7
      std::int16_t* out = q_ + part / 2 * 64 + part % 2 * 16;       // 2 column pairs x 16 rows x 2
      store256(out, take<0x88>(a, b));
      store256(out + 32, take<0xdd>(a, b));
    }
  }

  template <std::size_t kRows, class Into>
  DGQ_INLINE void add(const QuantizedRows& x, std::size_t i, std::size_t chunk, State* state) const {
    alignas(32) std::int16_t xq[kRows][kActBlock];
    for (std::size_t row = 0; row < kRows; ++row)
      for (std::size_t k = 0; k < columns_; k += 16)
        store256(xq[row] + k, _mm256_cvtepi8_epi16(load128(x.q_of(i + row, chunk) + k)));
    __m256i sum[kRows][2];
    for (auto& row : sum) row[0] = row[1] = _mm256_setzero_si256();
    for (std::size_t k = 0; k < columns_; k += 2) {
      const __m256i w0 = load256(q_ + k * kRowBlock), w1 = load256(q_ + k * kRowBlock + 16);
#pragma GCC unroll 4
      for (std::size_t row = 0; row < kRows; ++row) {
        const __m256i x2 = broadcast32(xq[row] + k);
        sum[row][0] = pinned(_mm256_add_epi32(sum[row][0], _mm256_madd_epi16(w0, x2)));
        sum[row][1] = pinned(_mm256_add_epi32(sum[row][1], _mm256_madd_epi16(w1, x2)));
      }
    }
    for (std::size_t row = 0; row < kRows; ++row) {
      Acc acc;
      for (std::size_t half = 0; half < 2; ++half) store256(acc.lane + 8 * half, sum[row][half]);
      Into::add(state[row], acc, x, i + row, chunk);
    }
  }

 private:
  // The even (0x88) or odd (0xdd) pairs of 8 rows, in row order.
  template <int kWhich>
  DGQ_INLINE static __m256i take(__m256i a, __m256i b) {
    const __m256 mixed = _mm256_shuffle_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), kWhich);
    return _mm256_permute4x64_epi64(_mm256_castps_si256(mixed), 0xd8);
  }

  alignas(32) std::int16_t q_[kActBlock * kRowBlock];
  std::size_t columns_;
};

}  // namespace

void gemm_w8a8_1x16_avx2(const W8Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                         std::size_t block_end, float* y, std::size_t ldy) noexcept {
  decode<Fold<Lines::asked_for>>(w, x, block_begin, block_end, y, ldy);
}

void gemm_w8a8_1x16_avx2_streams(const W8Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                                 std::size_t block_end, float* y, std::size_t ldy) noexcept {
  decode<Fold<Lines::streamed>>(w, x, block_begin, block_end, y, ldy);
}

void gemm_w8a8_4x16_avx2(const W8Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                         std::size_t block_end, float* y, std::size_t ldy) noexcept {
  prefill<Panel>(w, x, block_begin, block_end, y, ldy);
}

}  // namespace dgq
