// kernels/arm/gemm_w4a8_neon_dot.cpp - built with -march=armv8.2-a+dotprod (kernels/CMakeLists.txt); see
// gemm_q_loops.h for why nothing else is included.
//
// Decode folds: SDOT of q inside a group, then times s2, plus o times the sum of xq. Prefill expands a
// panel to w8 once, which all rows of x share, and is a plain int8 product from there on. W6 differs in how q is unpacked
// only, so its kernels are here too.
#include "kernels/arm/dot_neon_dot.h"
#include "kernels/arm/neon.h"

namespace dgq {
namespace {

template <int kLowLane, std::size_t kRows, int kBits>
DGQ_INLINE void add_packed(int32x4_t (&acc)[kRows][kVectors], Steps<kBits> q, const int8x16_t (&x16)[kRows]) {
  int8x16_t low[kVectors], high[kVectors];
  load_step(q, low, high);
  for (std::size_t r = 0; r < kRows; ++r) {
    for (std::size_t v = 0; v < kVectors; ++v)
      acc[r][v] = vdotq_laneq_s32(acc[r][v], low[v], x16[r], kLowLane);
    for (std::size_t v = 0; v < kVectors; ++v)
      acc[r][v] = vdotq_laneq_s32(acc[r][v], high[v], x16[r], kLowLane + 1);
  }
}

struct Fold {
  static constexpr std::size_t kTileRows = 4;

  template <std::size_t kRows, int kBits>
  DGQ_INLINE static void add(const FineMatrix<kBits>& w, std::size_t row_block, const QuantizedRows& x,
                             std::size_t i, std::size_t chunk, std::size_t columns, Acc (&acc)[kRows]) {
    Packed packed(w, row_block, chunk);
    for (std::size_t g = 0; g < columns; g += w.group, packed.s2 += kRowBlock, packed.o += kRowBlock) {
      int32x4_t dot[kRows][kVectors];
      for (auto& row : dot)
        for (auto& v : row) v = vdupq_n_s32(0);
      for (std::size_t k = g; k < g + w.group; k += 16, packed.q = packed.q + 2) {
        int8x16_t x16[kRows];
        for (std::size_t r = 0; r < kRows; ++r) x16[r] = vld1q_s8(x.q_of(i + r, chunk) + k);
        add_packed<0>(dot, packed.q, x16);
        add_packed<2>(dot, packed.q + 1, x16);
      }
      Fine fine;
      fine.load(packed.s2, packed.o);
      for (std::size_t r = 0; r < kRows; ++r)
        fine.add(acc[r], dot[r], x.sums_of(i + r, chunk).of_group(g, w.group));
    }
  }
};

// w8 in the order n16k4.
class Panel {
 public:
  static constexpr std::size_t kTileRows = kPanelTileRows, kBlocks = 1;

  template <int kBits>
  void load(const FineMatrix<kBits>& w, std::size_t row_block, std::size_t chunk, std::size_t columns) {
    columns_ = columns;
    expand<N16K4>(w, row_block, chunk, columns, q_);
  }

  template <std::size_t kRows, class Into>
  DGQ_INLINE void add(const QuantizedRows& x, std::size_t i, std::size_t chunk, State* state) const {
    add_expanded<kRows, Into>(q_, columns_, x, i, chunk, state);
  }

 private:
  alignas(64) std::int8_t q_[kActBlock * kRowBlock];
  std::size_t columns_;
};

}  // namespace

void gemm_w4a8_1x16_neon_dot(const W4Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                             std::size_t block_end, float* y, std::size_t ldy) noexcept {
  decode<Fold>(w, x, block_begin, block_end, y, ldy);
}

void gemm_w6a8_1x16_neon_dot(const W6Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                             std::size_t block_end, float* y, std::size_t ldy) noexcept {
  decode<Fold>(w, x, block_begin, block_end, y, ldy);
}

void gemm_w4a8_8x8_neon_dot(const W4Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                            std::size_t block_end, float* y, std::size_t ldy) noexcept {
  prefill<Panel>(w, x, block_begin, block_end, y, ldy);
}

void gemm_w6a8_8x8_neon_dot(const W6Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                            std::size_t block_end, float* y, std::size_t ldy) noexcept {
  prefill<Panel>(w, x, block_begin, block_end, y, ldy);
}

}  // namespace dgq
