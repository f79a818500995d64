// kernels/x86/dot_avxvnni.h - vpdpbusd on 8 output rows at once: what the avxvnni kernel files share. Signed weights get
// 128 added, as in dot_avx512vnni.h.
#pragma once

#include "kernels/x86/fine_avx2.h"
#include "kernels/x86/prefetch.h"

#ifndef __AVXVNNI__
#error "build this file with -mavxvnni"
#endif

namespace dgq {
namespace {

constexpr std::size_t kStepBytes = 64;  // 16 rows x 8 columns of nibbles, or x 4 columns of bytes

// sum += unsigned w times signed x, four columns
DGQ_INLINE __m256i dot4(__m256i sum, __m256i w, __m256i x4) {
  return pinned(_mm256_dpbusd_avx_epi32(sum, w, x4));
}

// w8 + 128 of one chunk in the order n16k4, modulo 256.
template <int kBits>
DGQ_INLINE void expand(const FineMatrix<kBits>& w, std::size_t row_block, std::size_t chunk,
                       std::size_t columns, std::uint8_t* out) {
  const Packed packed(w, row_block, chunk);
  for (std::size_t g = 0; g < columns; g += w.group) {
    for (std::size_t half = 0; half < 2; ++half) {
      const std::size_t fine = g / w.group * kRowBlock + 8 * half;
      const __m256i rows = _mm256_cvtepu8_epi32(load64(packed.s2 + fine));
      const __m256i scale = _mm256_or_si256(rows, _mm256_slli_epi32(rows, 16));
      const __m256i offset = _mm256_add_epi8(
          _mm256_mullo_epi32(_mm256_cvtepu8_epi32(load64(packed.o + fine)), _mm256_set1_epi32(0x01010101)),
          _mm256_set1_epi8(-128));
      // Two bytes in one product: s2 * q = w8 - o stays under 256, so nothing is carried from the low one.
      const auto times_scale = [&](__m256i v) {
        return _mm256_add_epi8(_mm256_mullo_epi16(v, scale), offset);
      };
      Steps<kBits> q = packed.q + g / 8;
      std::uint8_t* to = out + g * kRowBlock + 32 * half;
      for (std::size_t k = 0; k < w.group; k += 8, q = q + 1, to += 2 * kStepBytes) {
        if (half == 0) prefetch_next(q);
        const Columns columns8 = load_step(q, half);
        store256(to, times_scale(columns8.first));
        store256(to + kStepBytes, times_scale(columns8.last));
      }
    }
  }
}
DGQ_INLINE void expand(const W8Matrix& w, std::size_t row_block, std::size_t chunk, std::size_t columns,
                       std::uint8_t* out) {
  const std::int8_t* q = packed_chunk(w, row_block, chunk);
  for (std::size_t at = 0; at < columns * kRowBlock; at += 32)
    prefetch_next(q + at), store256(out + at, _mm256_xor_si256(load256(q + at), _mm256_set1_epi8(-128)));
}

// 16 output rows, expanded. 6 rows of x are 12 of the 16 registers, 2 hold weights and 1 x.
class Panel {
 public:
  static constexpr std::size_t kTileRows = 6, kBlocks = 1;

  template <class Matrix>
  void load(const Matrix& w, std::size_t row_block, std::size_t chunk, std::size_t columns) {
    steps_ = columns / 4;
    expand(w, row_block, chunk, columns, q_);
  }

  template <std::size_t kRows, class Into>
  DGQ_INLINE void add(const QuantizedRows& x, std::size_t i, std::size_t chunk, State* state) const {
    const std::int8_t* xq = x.q_of(i, chunk);
    __m256i sum[kRows][2];
#pragma GCC unroll 6
    for (std::size_t r = 0; r < kRows; ++r)
      sum[r][0] = sum[r][1] = _mm256_set1_epi32(x.sums_of(i + r, chunk).minus_128);
    for (std::size_t s = 0; s < steps_; ++s) {
      const __m256i w0 = load256(q_ + s * kStepBytes), w1 = load256(q_ + s * kStepBytes + 32);
#pragma GCC unroll 6
      for (std::size_t r = 0; r < kRows; ++r) {
        const __m256i x4 = broadcast32(xq + r * kActBlock + 4 * s);
        sum[r][0] = dot4(sum[r][0], w0, x4);
        sum[r][1] = dot4(sum[r][1], w1, x4);
      }
    }
#pragma GCC unroll 6
    for (std::size_t r = 0; r < kRows; ++r) {
      Acc acc;
      store256(acc.lane, sum[r][0]);
      store256(acc.lane + 8, sum[r][1]);
      Into::add(state[r], acc, x, i + r, chunk);
    }
  }

 private:
  alignas(32) std::uint8_t q_[kActBlock * kRowBlock];
  std::size_t steps_;
};

}  // namespace
}  // namespace dgq
