// kernels/arm/gemm_w8a8_neon_i8mm.cpp - built with -march=armv8.2-a+dotprod+i8mm (kernels/CMakeLists.txt); see
// gemm_q_loops.h for why nothing else is included. Prefill only: the row's decode is that of neon_dot.
#include "kernels/arm/mmla_neon_i8mm.h"
#include "kernels/arm/neon.h"

namespace dgq {
namespace {

struct Weights {
  DGQ_INLINE static void expand(const W8Matrix& w, std::size_t row_block, std::size_t chunk,
                                std::size_t columns, std::int8_t* out) {
    const std::int8_t* q = packed_chunk(w, row_block, chunk);
    for (std::size_t k = 0; k < columns; k += 8, q += 128, out += 128)
      for (std::size_t v = 0; v < kVectors; ++v)
        PairOrder::store(out, v, vld1q_s8(q + 16 * v), vld1q_s8(q + 64 + 16 * v));
  }
};

}  // namespace

void gemm_w8a8_12x8_neon_i8mm(const W8Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                              std::size_t block_end, float* y, std::size_t ldy) noexcept {
  prefill<PairPanel<Weights, 2>, PairPanel<Weights, 1>>(w, x, block_begin, block_end, y, ldy);
}

}  // namespace dgq
