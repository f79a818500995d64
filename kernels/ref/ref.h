// kernels/ref/ref.h - the meaning of each operation in plain loops: the fallback everywhere, and what tests
// compare with.
#pragma once

#include "kernels/attention_f16.h"
#include "kernels/float_ops.h"
#include "kernels/gemm_f32.h"
#include "kernels/gemm_q.h"
#include "kernels/quantize_rows.h"

namespace dgq {

GemmW4A8 gemm_w4a8_ref;
GemmW6A8 gemm_w6a8_ref;
GemmW8A8 gemm_w8a8_ref;
QuantizeRows quantize_rows_ref;
QuantizeRowsTwice quantize_rows_twice_ref;
QuantizeRowsGiven quantize_rows_given_ref;
GemmF32 gemm_f32_ref;
extern const FloatOps float_ops_ref;
extern const AttentionF16 attention_f16_ref;

}  // namespace dgq
