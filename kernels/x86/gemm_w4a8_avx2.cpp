// kernels/x86/gemm_w4a8_avx2.cpp - built with -mavx2 -mfma -mf16c (kernels/CMakeLists.txt); see
// gemm_q_loops.h for why nothing else is included.
//
// No VNNI: vpmaddubsw of unsigned nibbles with signed activations gives pairs in int16, at most 15*127*2 =
// 3810, so eight of them (32 columns) add up to 30480 without saturating. One vpmaddwd with (s2, s2) then
// widens AND scales. The offset is o times the sums of xq, two groups per vpmaddwd.
//
// W6: pairs of at most 63*127*2 = 16002, so two of them (8 columns) fit, and each step of 8 columns is widened. All else is
// the same, so its kernels are here too.
#include "kernels/x86/avx2.h"
#include "kernels/x86/fine_avx2.h"
#include "kernels/x86/prefetch.h"

namespace dgq {
namespace {

constexpr std::size_t kStepBytes = 64;  // 16 rows x 4 columns of unpacked q
constexpr std::size_t kRunSteps = 4;    // 32 columns, whose products with nibbles int16 can hold

// Eight bytes, one per output row, to the int16 pairs (a, b) that vpmaddwd multiplies.
DGQ_INLINE __m256i pairs(__m256i a, __m256i b) {
  return _mm256_blend_epi16(a, _mm256_slli_epi32(b, 16), 0xaa);
}
DGQ_INLINE __m256i load_s2(const std::uint8_t* s2) {
  const __m256i s = _mm256_cvtepu8_epi32(load64(s2));
  return pairs(s, s);
}
DGQ_INLINE __m256i load_o(const std::int8_t* o) { return _mm256_cvtepi8_epi32(load64(o)); }

// The sums of 8 output rows over a run: s2 widens those of W4 at its end, those of W6 in every step.
template <int kBits>
DGQ_INLINE __m256i add_step(__m256i run, const Columns& q, __m256i x_first, __m256i x_last, __m256i scale) {
  if constexpr (kBits == 4) {
    run = _mm256_add_epi16(run, _mm256_maddubs_epi16(q.first, x_first));
    return _mm256_add_epi16(run, _mm256_maddubs_epi16(q.last, x_last));
  } else {
    const __m256i pairs16 =
        _mm256_add_epi16(_mm256_maddubs_epi16(q.first, x_first), _mm256_maddubs_epi16(q.last, x_last));
    return _mm256_add_epi32(run, _mm256_madd_epi16(pairs16, scale));
  }
}
template <int kBits>
DGQ_INLINE __m256i widened(__m256i run, __m256i scale) {
  return kBits == 4 ? _mm256_madd_epi16(run, scale) : run;
}

DGQ_INLINE void add_to(std::int32_t* lanes, __m256i v) {
  store256(lanes, _mm256_add_epi32(load256(lanes), v));
}

template <Lines kLines>
struct Fold {
  static constexpr std::size_t kTileRows = 4;

  template <std::size_t kRows, int kBits>
  DGQ_INLINE static void add(const FineMatrix<kBits>& w, std::size_t row_block, const QuantizedRows& x,
                             std::size_t i, std::size_t chunk, std::size_t columns, Acc (&acc)[kRows]) {
    auto [q, s2, o] = Packed(w, row_block, chunk);
    for (std::size_t k = 0; k < columns; k += w.group, s2 += kRowBlock, o += kRowBlock) {
      const __m256i scale0 = load_s2(s2), scale1 = load_s2(s2 + 8);
      for (std::size_t run = k; run < k + w.group; run += kSumGroup, q = q + kRunSteps) {
        __m256i run0[kRows], run1[kRows];
        for (std::size_t r = 0; r < kRows; ++r) run0[r] = run1[r] = _mm256_setzero_si256();
#pragma GCC unroll 4
        for (std::size_t s = 0; s < kRunSteps; ++s) {
          if constexpr (kLines == Lines::asked_for) prefetch_twice(q + s);
          const Columns q0 = load_step(q + s, 0), q1 = load_step(q + s, 1);
#pragma GCC unroll 4
          for (std::size_t r = 0; r < kRows; ++r) {
            const std::int8_t* xq = x.q_of(i + r, chunk) + run + 8 * s;
            const __m256i x_first = broadcast32(xq), x_last = broadcast32(xq + 4);
            run0[r] = pinned(add_step<kBits>(run0[r], q0, x_first, x_last, scale0));
            run1[r] = pinned(add_step<kBits>(run1[r], q1, x_first, x_last, scale1));
          }
        }
#pragma GCC unroll 4
        for (std::size_t r = 0; r < kRows; ++r) {
          add_to(acc[r].lane, widened<kBits>(run0[r], scale0));
          add_to(acc[r].lane + 8, widened<kBits>(run1[r], scale1));
        }
      }
      const __m256i o0 = load_o(o), o1 = load_o(o + 8);
      for (std::size_t r = 0; r < kRows; ++r) {
        // The sum in the low int16; the high one is 0, whatever stands beside o.
        const __m256i pair = _mm256_set1_epi32(x.sums_of(i + r, chunk).of_group(k, w.group) & 0xffff);
        add_to(acc[r].lane, _mm256_madd_epi16(o0, pair));
        add_to(acc[r].lane + 8, _mm256_madd_epi16(o1, pair));
      }
    }
  }
};

// One q per byte, s2 ready for vpmaddwd for every 32 columns, whatever the group size, and o for every two groups: one of
// 128 columns counts as two of 64.
template <int kBits>
class Panel {
 public:
  static constexpr std::size_t kTileRows = 4, kBlocks = 1;

  void load(const FineMatrix<kBits>& w, std::size_t row_block, std::size_t chunk, std::size_t columns) {
    const Packed packed(w, row_block, chunk);
    for (std::size_t s = 0; s < columns / 8; ++s) {
      prefetch_next(packed.q + s);
#pragma GCC unroll 2
      for (std::size_t half = 0; half < 2; ++half) {
        const Columns q = load_step(packed.q + s, half);
        store256(q_ + 2 * s * kStepBytes + 32 * half, q.first);
        store256(q_ + (2 * s + 1) * kStepBytes + 32 * half, q.last);
      }
    }
    runs_ = columns / kSumGroup;
    narrow_ = w.group == kSumGroup;
    for (std::size_t half = 0; half < 2; ++half) {
      const auto fine = [&](std::size_t column) { return column / w.group * kRowBlock + 8 * half; };
      for (std::size_t r = 0; r < runs_; ++r) s2_[r][half] = load_s2(packed.s2 + fine(r * kSumGroup));
      const std::size_t width = narrow_ ? kSumGroup : 2 * kSumGroup;
      for (std::size_t p = 0; p < kRuns / 2; ++p) {
        const std::size_t left = 2 * p * width, right = left + width;
        const auto o = [&](std::size_t column) {
          return column < columns ? load_o(packed.o + fine(column)) : _mm256_setzero_si256();
        };
        o_[p][half] = pairs(o(left), o(right));
      }
    }
  }

  template <std::size_t kRows, class Into>
  DGQ_INLINE void add(const QuantizedRows& x, std::size_t i, std::size_t chunk, State* state) const {
    Acc acc[kRows];
    const std::int8_t* xq = x.q_of(i, chunk);
    add_run<kRows, true>(xq, 0, acc);
    for (std::size_t r = 1; r < runs_; ++r) add_run<kRows, false>(xq + r * kSumGroup, r, acc);
    for (std::size_t row = 0; row < kRows; ++row) {
      const ChunkSums& sums = x.sums_of(i + row, chunk);
      if (narrow_) {
        add_offsets(acc[row], o_[0], sums.of32);
        add_offsets(acc[row], o_[1], sums.of32 + 2);
      } else {
        add_offsets(acc[row], o_[0], sums.of64);
      }
      Into::add(state[row], acc[row], x, i + row, chunk);
    }
  }

 private:
  static constexpr std::size_t kRuns = kSumsPerChunk;

  // Of two groups, whose sums of x stand side by side.
  DGQ_INLINE static void add_offsets(Acc& acc, const __m256i (&o)[2], const std::int16_t* sums) {
    const __m256i pair = broadcast32(sums);
    add_to(acc.lane, _mm256_madd_epi16(o[0], pair));
    add_to(acc.lane + 8, _mm256_madd_epi16(o[1], pair));
  }

  // 32 columns, from xq on. The first run sets acc.
  template <std::size_t kRows, bool kFirst>
  DGQ_INLINE void add_run(const std::int8_t* xq, std::size_t r, Acc* acc) const {
    const std::uint8_t* q = q_ + r * 2 * kRunSteps * kStepBytes;
    __m256i run[kRows][2];
    if constexpr (kBits == 4)
      multiply_narrow<kRows>(xq, q, run);
    else
      multiply_wide<kRows>(xq, q, s2_[r], run);
#pragma GCC unroll 4
    for (std::size_t row = 0; row < kRows; ++row) {
      for (std::size_t half = 0; half < 2; ++half) {
        const __m256i sums = widened<kBits>(run[row][half], s2_[r][half]);
        if constexpr (kFirst)
          store256(acc[row].lane + 8 * half, sums);
        else
          add_to(acc[row].lane + 8 * half, sums);
      }
    }
  }

  // 8 int16 accumulators for 4 rows of x, 2 registers of weights, 1 of x.
  template <std::size_t kRows>
  DGQ_INLINE static void multiply_narrow(const std::int8_t* xq, const std::uint8_t* q,
                                         __m256i (&run)[kRows][2]) {
#pragma GCC unroll 4
    for (std::size_t row = 0; row < kRows; ++row) {
      const __m256i x4 = broadcast32(xq + row * kActBlock);
      run[row][0] = pinned(_mm256_maddubs_epi16(load256(q), x4));
      run[row][1] = pinned(_mm256_maddubs_epi16(load256(q + 32), x4));
    }
#pragma GCC unroll 8
    for (std::size_t s = 1; s < 8; ++s) {
      const __m256i w0 = load256(q + s * kStepBytes), w1 = load256(q + s * kStepBytes + 32);
#pragma GCC unroll 4
      for (std::size_t row = 0; row < kRows; ++row) {
        const __m256i x4 = broadcast32(xq + row * kActBlock + 4 * s);
        run[row][0] = pinned(_mm256_add_epi16(run[row][0], _mm256_maddubs_epi16(w0, x4)));
        run[row][1] = pinned(_mm256_add_epi16(run[row][1], _mm256_maddubs_epi16(w1, x4)));
      }
    }
  }

  // 8 int32 accumulators for 4 rows of x, 4 registers of weights, 2 of x.
  template <std::size_t kRows>
  DGQ_INLINE static void multiply_wide(const std::int8_t* xq, const std::uint8_t* q,
                                       const __m256i (&scale)[2], __m256i (&run)[kRows][2]) {
    for (auto& row : run) row[0] = row[1] = _mm256_setzero_si256();
#pragma GCC unroll 4
    for (std::size_t s = 0; s < kRunSteps; ++s, q += 2 * kStepBytes) {
      const Columns w0 = {load256(q), load256(q + kStepBytes)};
      const Columns w1 = {load256(q + 32), load256(q + kStepBytes + 32)};
#pragma GCC unroll 4
      for (std::size_t row = 0; row < kRows; ++row) {
        const std::int8_t* x8 = xq + row * kActBlock + 8 * s;
        const __m256i x_first = broadcast32(x8), x_last = broadcast32(x8 + 4);
        run[row][0] = pinned(add_step<kBits>(run[row][0], w0, x_first, x_last, scale[0]));
        run[row][1] = pinned(add_step<kBits>(run[row][1], w1, x_first, x_last, scale[1]));
      }
    }
  }

  alignas(32) std::uint8_t q_[kActBlock * kRowBlock];  // n16k4: byte 4*r + j of each 64
  __m256i s2_[kRuns][2];
  __m256i o_[kRuns / 2][2];
  std::size_t runs_;
  bool narrow_;  // groups of 32
};

}  // namespace

void gemm_w4a8_1x16_avx2(const W4Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                         std::size_t block_end, float* y, std::size_t ldy) noexcept {
  decode<Fold<Lines::asked_for>>(w, x, block_begin, block_end, y, ldy);
}

void gemm_w4a8_1x16_avx2_streams(const W4Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                                 std::size_t block_end, float* y, std::size_t ldy) noexcept {
  decode<Fold<Lines::streamed>>(w, x, block_begin, block_end, y, ldy);
}

void gemm_w6a8_1x16_avx2(const W6Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                         std::size_t block_end, float* y, std::size_t ldy) noexcept {
  decode<Fold<Lines::asked_for>>(w, x, block_begin, block_end, y, ldy);
}

void gemm_w6a8_1x16_avx2_streams(const W6Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                                 std::size_t block_end, float* y, std::size_t ldy) noexcept {
  decode<Fold<Lines::streamed>>(w, x, block_begin, block_end, y, ldy);
}

void gemm_w4a8_4x16_avx2(const W4Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                         std::size_t block_end, float* y, std::size_t ldy) noexcept {
  prefill<Panel<4>>(w, x, block_begin, block_end, y, ldy);
}

void gemm_w6a8_4x16_avx2(const W6Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                         std::size_t block_end, float* y, std::size_t ldy) noexcept {
  prefill<Panel<6>>(w, x, block_begin, block_end, y, ldy);
}

}  // namespace dgq
