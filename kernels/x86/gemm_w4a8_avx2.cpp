// kernels/x86/gemm_w4a8_avx2.cpp - built with -mavx2 -mfma -mf16c (kernels/CMakeLists.txt); see
// gemm_q_loops.h for why nothing else is included.
//
// No VNNI: vpmaddubsw of unsigned nibbles with signed activations gives pairs in int16, at most 15*127*2 =
// 3810, so eight of them (32 columns) add up to 30480 without saturating. One vpmaddwd with (s2, s2) then
// widens AND scales. The offset is o times the sums of xq, two runs of 32 columns per vpmaddwd: x.sums holds
// them side by side as int16.
#include "kernels/gemm_q_loops.h"
#include "kernels/x86/avx2.h"
#include "kernels/x86/vector_avx2.h"

namespace dgq {
namespace {

constexpr std::size_t kStepBytes = 64;             // 16 rows x 8 columns
constexpr std::size_t kRunBytes = 4 * kStepBytes;  // 16 rows x 32 columns, what int16 can hold

DGQ_INLINE __m256i low_nibbles(__m256i v) { return _mm256_and_si256(v, _mm256_set1_epi8(15)); }
DGQ_INLINE __m256i high_nibbles(__m256i v) { return low_nibbles(_mm256_srli_epi16(v, 4)); }

// Eight bytes, one per output row, to the int16 pairs (a, b) that vpmaddwd multiplies.
DGQ_INLINE __m256i pairs(__m256i a, __m256i b) {
  return _mm256_blend_epi16(a, _mm256_slli_epi32(b, 16), 0xaa);
}
DGQ_INLINE __m256i load_s2(const std::uint8_t* s2) {
  const __m256i s = _mm256_cvtepu8_epi32(load64(s2));
  return pairs(s, s);
}
DGQ_INLINE __m256i load_o(const std::int8_t* o) { return _mm256_cvtepi8_epi32(load64(o)); }

// 8 output rows x 8 columns: adds the products of both nibbles with x to the int16 pairs.
DGQ_INLINE __m256i add_step(__m256i pairs16, __m256i packed, __m256i x_low, __m256i x_high) {
  pairs16 = _mm256_add_epi16(pairs16, _mm256_maddubs_epi16(low_nibbles(packed), x_low));
  return _mm256_add_epi16(pairs16, _mm256_maddubs_epi16(high_nibbles(packed), x_high));
}

struct Dot {
  DGQ_INLINE static void run(const W4Matrix& w, std::size_t row_block, const std::int8_t* xq,
                             const std::int16_t* sums, std::size_t begin, std::size_t end, Acc& acc) {
    const std::size_t group = w.group, runs = group / kSumGroup;
    const std::uint8_t* q = w.q + (row_block * w.padded_k() + begin) * (kRowBlock / 2);
    const std::size_t fine = (row_block * w.padded_k() + begin) / group * kRowBlock;
    const std::uint8_t* s2 = w.s2 + fine;
    const std::int8_t* o = w.o + fine;
    const std::int8_t* x = xq + begin;
    const std::int16_t* sum = sums + begin / kSumGroup;
    __m256i acc0 = _mm256_setzero_si256(), acc1 = acc0;
    for (std::size_t g = begin; g < end; g += group, s2 += kRowBlock, o += kRowBlock) {
      const __m256i scale0 = load_s2(s2), scale1 = load_s2(s2 + 8);
      int group_sum = 0;
      for (std::size_t r = 0; r < runs; ++r, q += kRunBytes, x += kSumGroup) {
        __m256i run0 = _mm256_setzero_si256(), run1 = run0;
        for (std::size_t s = 0; s < 4; ++s) {
          prefetch(q + s * kStepBytes);
          const __m256i x_low = broadcast32(x + 8 * s), x_high = broadcast32(x + 8 * s + 4);
          run0 = add_step(run0, load256(q + s * kStepBytes), x_low, x_high);
          run1 = add_step(run1, load256(q + s * kStepBytes + 32), x_low, x_high);
        }
        acc0 = _mm256_add_epi32(acc0, _mm256_madd_epi16(run0, scale0));
        acc1 = _mm256_add_epi32(acc1, _mm256_madd_epi16(run1, scale1));
        group_sum += *sum++;
      }
      // |group_sum| <= 127 * 128 fits the low int16; the high one is 0, whatever stands beside o.
      const __m256i pair = _mm256_set1_epi32(group_sum & 0xffff);
      acc0 = _mm256_add_epi32(acc0, _mm256_madd_epi16(load_o(o), pair));
      acc1 = _mm256_add_epi32(acc1, _mm256_madd_epi16(load_o(o + 8), pair));
    }
    store256(acc.lane, acc0);
    store256(acc.lane + 8, acc1);
  }
};

// One nibble per byte, and s2 and o ready for vpmaddwd, for every 32 columns, whatever the group size.
class Panel {
 public:
  void load(const W4Matrix& w, std::size_t row_block, std::size_t begin, std::size_t columns) {
    const std::uint8_t* packed = w.q + (row_block * w.padded_k() + begin) * (kRowBlock / 2);
    for (std::size_t s = 0; s < columns / 8; ++s) {
      for (std::size_t half = 0; half < 2; ++half) {
        const __m256i v = load256(packed + s * kStepBytes + 32 * half);
        store256(q_ + 2 * s * kStepBytes + 32 * half, low_nibbles(v));
        store256(q_ + (2 * s + 1) * kStepBytes + 32 * half, high_nibbles(v));
      }
    }
    runs_ = columns / kSumGroup;
    const std::size_t first = row_block * (w.padded_k() / w.group);
    for (std::size_t half = 0; half < 2; ++half) {
      __m256i o[kRuns + 1];
      for (std::size_t r = 0; r < runs_; ++r) {
        const std::size_t fine = (first + (begin + r * kSumGroup) / w.group) * kRowBlock + 8 * half;
        s2_[r][half] = load_s2(w.s2 + fine);
        o[r] = load_o(w.o + fine);
      }
      o[runs_] = _mm256_setzero_si256();
      for (std::size_t r = 0; r < runs_; r += 2) o_[r / 2][half] = pairs(o[r], o[r + 1]);
    }
  }

  template <std::size_t kRows>
  void add(const QuantizedRows& x, std::size_t i, std::size_t begin, Acc* acc) const {
    for (std::size_t r = 0; r < runs_; ++r) add_run<kRows>(x, i, begin, r, acc);
    const std::int16_t* sums = x.sums + i * (x.stride / kSumGroup) + begin / kSumGroup;
    for (std::size_t row = 0; row < kRows; ++row, sums += x.stride / kSumGroup) {
      __m256i acc0 = load256(acc[row].lane), acc1 = load256(acc[row].lane + 8);
      for (std::size_t r = 0; r < runs_; r += 2) {
        const __m256i pair = broadcast32(sums + r);
        acc0 = _mm256_add_epi32(acc0, _mm256_madd_epi16(o_[r / 2][0], pair));
        acc1 = _mm256_add_epi32(acc1, _mm256_madd_epi16(o_[r / 2][1], pair));
      }
      store256(acc[row].lane, acc0);
      store256(acc[row].lane + 8, acc1);
    }
  }

 private:
  static constexpr std::size_t kRuns = kPanelColumns / kSumGroup;

  // 32 columns: 8 int16 accumulators for 4 rows of x, 2 registers of weights, 1 of x.
  template <std::size_t kRows>
  DGQ_INLINE void add_run(const QuantizedRows& x, std::size_t i, std::size_t begin, std::size_t r,
                          Acc* acc) const {
    const std::int8_t* xq = x.q + i * x.stride + begin + r * kSumGroup;
    const std::uint8_t* q = q_ + r * 2 * kRunBytes;
    __m256i run[kRows][2];
    for (auto& pair : run) pair[0] = pair[1] = _mm256_setzero_si256();
#pragma GCC unroll 8
    for (std::size_t s = 0; s < 8; ++s) {
      const __m256i w0 = load256(q + s * kStepBytes), w1 = load256(q + s * kStepBytes + 32);
#pragma GCC unroll 4
      for (std::size_t row = 0; row < kRows; ++row) {
        const __m256i x4 = broadcast32(xq + row * x.stride + 4 * s);
        run[row][0] = pinned(_mm256_add_epi16(run[row][0], _mm256_maddubs_epi16(w0, x4)));
        run[row][1] = pinned(_mm256_add_epi16(run[row][1], _mm256_maddubs_epi16(w1, x4)));
      }
    }
#pragma GCC unroll 4
    for (std::size_t row = 0; row < kRows; ++row) {
      for (std::size_t half = 0; half < 2; ++half) {
        std::int32_t* lane = acc[row].lane + 8 * half;
        store256(lane, _mm256_add_epi32(load256(lane), _mm256_madd_epi16(run[row][half], s2_[r][half])));
      }
    }
  }

  alignas(32) std::uint8_t q_[kPanelColumns * kRowBlock];  // n16k4: byte 4*r + j of each 64
  __m256i s2_[kRuns][2];
  __m256i o_[kRuns / 2][2];
  std::size_t runs_;
};

}  // namespace

void gemm_w4a8_1x16_avx2(const W4Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                         std::size_t block_end, float* y, std::size_t ldy) noexcept {
  decode<Dot>(w, x, block_begin, block_end, y, ldy);
}

void gemm_w4a8_4x16_avx2(const W4Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                         std::size_t block_end, float* y, std::size_t ldy) noexcept {
  prefill<Panel>(w, x, block_begin, block_end, y, ldy);
}

}  // namespace dgq
