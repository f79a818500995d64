// kernels/x86/avx2.h - the kernels built with -mavx2 -mfma -mf16c; they run only where kAvx2 is set.
#pragma once

#include "kernels/attention_f16.h"
#include "kernels/float_ops.h"
#include "kernels/gemm_f32.h"
#include "kernels/gemm_q.h"
#include "kernels/quantize_rows.h"

namespace dgq {

GemmW4A8 gemm_w4a8_1x16_avx2;
GemmW4A8 gemm_w4a8_1x16_avx2_streams;
GemmW4A8 gemm_w4a8_4x16_avx2;
GemmW6A8 gemm_w6a8_1x16_avx2;
GemmW6A8 gemm_w6a8_1x16_avx2_streams;
GemmW6A8 gemm_w6a8_4x16_avx2;
GemmW8A8 gemm_w8a8_1x16_avx2;
GemmW8A8 gemm_w8a8_1x16_avx2_streams;
GemmW8A8 gemm_w8a8_4x16_avx2;
QuantizeRows quantize_rows_avx2;
QuantizeRowsTwice quantize_rows_twice_avx2;
QuantizeRowsGiven quantize_rows_given_avx2;
GemmF32 gemm_f32_3x2_avx2;
extern const FloatOps float_ops_avx2;
extern const AttentionF16 attention_f16_avx2;

}  // namespace dgq
