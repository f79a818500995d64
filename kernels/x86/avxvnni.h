// kernels/x86/avxvnni.h - the kernels built with -mavx2 -mfma -mf16c -mavxvnni; they run only where kAvxVnni is set.
#pragma once

#include "kernels/gemm_q.h"

namespace dgq {

GemmW4A8 gemm_w4a8_1x16_avxvnni;
GemmW4A8 gemm_w4a8_6x16_avxvnni;
GemmW6A8 gemm_w6a8_1x16_avxvnni;
GemmW6A8 gemm_w6a8_6x16_avxvnni;
GemmW8A8 gemm_w8a8_1x16_avxvnni;
GemmW8A8 gemm_w8a8_6x16_avxvnni;

}  // namespace dgq
