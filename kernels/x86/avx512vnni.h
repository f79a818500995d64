// kernels/x86/avx512vnni.h - the kernels built with -mavx512f -mavx512bw -mavx512vl -mavx512vnni; they run only where
// kAvx512Vnni is set.
#pragma once

#include "kernels/attention_f16.h"
#include "kernels/float_ops.h"
#include "kernels/gemm_f32.h"
#include "kernels/gemm_q.h"

namespace dgq {

GemmW4A8 gemm_w4a8_1x16_avx512vnni;
GemmW4A8 gemm_w4a8_1x16_avx512vnni_streams;
GemmW4A8 gemm_w4a8_8x48_avx512vnni;
GemmW6A8 gemm_w6a8_1x16_avx512vnni;
GemmW6A8 gemm_w6a8_1x16_avx512vnni_streams;
GemmW6A8 gemm_w6a8_8x48_avx512vnni;
GemmW8A8 gemm_w8a8_1x16_avx512vnni;
GemmW8A8 gemm_w8a8_1x16_avx512vnni_streams;
GemmW8A8 gemm_w8a8_8x48_avx512vnni;
GemmF32 gemm_f32_3x8_avx512vnni;
extern const FloatOps float_ops_avx512vnni;
extern const AttentionF16 attention_f16_avx512vnni;

}  // namespace dgq
