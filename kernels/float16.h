// kernels/float16.h - IEEE binary16, as files and the KV cache of llama.cpp hold it, one number at a time.
#pragma once

#include <cstdint>

namespace dgq {

float f16_to_f32(std::uint16_t half);  // exact

// To the nearest, ties to even; infinity from 65520 on; a NaN stays one.
std::uint16_t f32_to_f16(float value);

}  // namespace dgq
