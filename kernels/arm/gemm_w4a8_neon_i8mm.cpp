// kernels/arm/gemm_w4a8_neon_i8mm.cpp - built with -march=armv8.2-a+dotprod+i8mm (kernels/CMakeLists.txt); see
// gemm_q_loops.h for why nothing else is included.
//
// Prefill only. For one row of x half of what SMMLA does is wasted, and for two the pairing of nibbles costs what
// SMMLA saves, so the row's decode is that of neon_dot. W6 as well.
#include "kernels/arm/mmla_neon_i8mm.h"
#include "kernels/arm/neon.h"

namespace dgq {
namespace {

struct Weights {
  template <int kBits>
  DGQ_INLINE static void expand(const FineMatrix<kBits>& w, std::size_t row_block, std::size_t chunk,
                                std::size_t columns, std::int8_t* out) {
    dgq::expand<PairOrder>(w, row_block, chunk, columns, out);
  }
};

}  // namespace

void gemm_w4a8_12x8_neon_i8mm(const W4Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                              std::size_t block_end, float* y, std::size_t ldy) noexcept {
  prefill<PairPanel<Weights, 2>, PairPanel<Weights, 1>>(w, x, block_begin, block_end, y, ldy);
}

void gemm_w6a8_12x8_neon_i8mm(const W6Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                              std::size_t block_end, float* y, std::size_t ldy) noexcept {
  prefill<PairPanel<Weights, 2>, PairPanel<Weights, 1>>(w, x, block_begin, block_end, y, ldy);
}

}  // namespace dgq
