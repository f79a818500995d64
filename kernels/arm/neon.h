// kernels/arm/neon.h - `neon`: every AArch64 CPU; `neon_dot`: built with -march=armv8.2-a+dotprod, needs kDotprod;
// `neon_i8mm`: with +i8mm as well, needs both bits.
#pragma once

#include "kernels/attention_f16.h"
#include "kernels/float_ops.h"
#include "kernels/gemm_f32.h"
#include "kernels/gemm_q.h"
#include "kernels/quantize_rows.h"

namespace dgq {

GemmW4A8 gemm_w4a8_1x16_neon;
GemmW4A8 gemm_w4a8_6x4_neon;
GemmW4A8 gemm_w4a8_1x16_neon_dot;
GemmW4A8 gemm_w4a8_8x8_neon_dot;
GemmW4A8 gemm_w4a8_12x8_neon_i8mm;
GemmW6A8 gemm_w6a8_1x16_neon;
GemmW6A8 gemm_w6a8_4x4_neon;
GemmW6A8 gemm_w6a8_1x16_neon_dot;
GemmW6A8 gemm_w6a8_8x8_neon_dot;
GemmW6A8 gemm_w6a8_12x8_neon_i8mm;
GemmW8A8 gemm_w8a8_1x16_neon;
GemmW8A8 gemm_w8a8_4x4_neon;
GemmW8A8 gemm_w8a8_1x16_neon_dot;
GemmW8A8 gemm_w8a8_8x8_neon_dot;
GemmW8A8 gemm_w8a8_12x8_neon_i8mm;
QuantizeRows quantize_rows_neon;
QuantizeRowsTwice quantize_rows_twice_neon;
QuantizeRowsGiven quantize_rows_given_neon;
GemmF32 gemm_f32_3x2_neon;
extern const FloatOps float_ops_neon;
extern const AttentionF16 attention_f16_neon;

}  // namespace dgq
