// kernels/x86/gemm_w4a8_amx_int8.cpp - built with the AVX-512 and AMX flags of kernels/CMakeLists.txt; see
// gemm_q_loops.h for why nothing else is included. Few rows of x are avx512vnni's. W6 as well.
#include "kernels/x86/amx_int8.h"
#include "kernels/x86/dot_amx_int8.h"

void dgq::gemm_w4a8_32x32_amx_int8(const W4Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                                   std::size_t block_end, float* y, std::size_t ldy) noexcept {
  const Tiles tiles;
  prefill<Panel<2>, Panel<1>>(w, x, block_begin, block_end, y, ldy);
}

void dgq::gemm_w6a8_32x32_amx_int8(const W6Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                                   std::size_t block_end, float* y, std::size_t ldy) noexcept {
  const Tiles tiles;
  prefill<Panel<2>, Panel<1>>(w, x, block_begin, block_end, y, ldy);
}
