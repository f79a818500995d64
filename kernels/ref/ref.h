// kernels/ref/ref.h - the meaning of each operation in plain loops: the fallback everywhere, and what tests compare with.
#pragma once

#include "kernels/gemm_f32.h"
#include "kernels/gemm_q.h"
#include "kernels/quantize_rows.h"

namespace dgq {

void gemm_w4a8_ref(const W4Matrix& w, const QuantizedRows& x, std::size_t block_begin, std::size_t block_end, float* y,
                   std::size_t ldy) noexcept;
void gemm_w8a8_ref(const W8Matrix& w, const QuantizedRows& x, std::size_t block_begin, std::size_t block_end, float* y,
                   std::size_t ldy) noexcept;
void quantize_rows_ref(const float* x, std::size_t ldx, std::size_t m, std::size_t k, std::size_t block,
                       const QuantizedRowsOut& out) noexcept;
void gemm_f32_ref(const F32Matrix& w, const float* x, std::size_t ldx, std::size_t m, std::size_t row_begin,
                  std::size_t row_end, float* y, std::size_t ldy) noexcept;

}  // namespace dgq
