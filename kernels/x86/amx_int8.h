// kernels/x86/amx_int8.h - the kernels built with the AVX-512 flags and -mamx-tile -mamx-int8; they run only where
// kAvx512Vnni and kAmxInt8 are set.
#pragma once

#include "kernels/gemm_q.h"

namespace dgq {

GemmW4A8 gemm_w4a8_32x32_amx_int8;
GemmW6A8 gemm_w6a8_32x32_amx_int8;
GemmW8A8 gemm_w8a8_32x32_amx_int8;

}  // namespace dgq
