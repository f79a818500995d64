// kernels/gemm_q_lanes.h - the float vectors of gemm_q_loops.h for the ISA that the including file is built for. By
// hand, because GCC 12 splits the loops over 16 lanes into scalars now and then.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "kernels/packed.h"

namespace dgq {
namespace {

struct Lanes {
#if defined(__AVX512F__)
  using V = __m512;
  static constexpr std::size_t kWidth = 16;
  DGQ_INLINE static V all(float x) { return _mm512_set1_ps(x); }
  DGQ_INLINE static V load(const float* p) { return _mm512_loadu_ps(p); }
  DGQ_INLINE static V from(const std::int32_t* p) { return _mm512_cvtepi32_ps(_mm512_loadu_si512(p)); }
  DGQ_INLINE static V fma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
  DGQ_INLINE static V mul(V a, V b) { return _mm512_mul_ps(a, b); }
  DGQ_INLINE static void store(float* p, V v) { _mm512_storeu_ps(p, v); }
#elif defined(__AVX2__)
  using V = __m256;
  static constexpr std::size_t kWidth = 8;
  DGQ_INLINE static V all(float x) { return _mm256_set1_ps(x); }
  DGQ_INLINE static V load(const float* p) { return _mm256_loadu_ps(p); }
  DGQ_INLINE static V from(const std::int32_t* p) {
    return _mm256_cvtepi32_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  DGQ_INLINE static V fma(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
  DGQ_INLINE static V mul(V a, V b) { return _mm256_mul_ps(a, b); }
  DGQ_INLINE static void store(float* p, V v) { _mm256_storeu_ps(p, v); }
#elif defined(__aarch64__)
  using V = float32x4_t;
  static constexpr std::size_t kWidth = 4;
  DGQ_INLINE static V all(float x) { return vdupq_n_f32(x); }
  DGQ_INLINE static V load(const float* p) { return vld1q_f32(p); }
  DGQ_INLINE static V from(const std::int32_t* p) { return vcvtq_f32_s32(vld1q_s32(p)); }
  DGQ_INLINE static V fma(V a, V b, V c) { return vfmaq_f32(c, a, b); }
  DGQ_INLINE static V mul(V a, V b) { return vmulq_f32(a, b); }
  DGQ_INLINE static void store(float* p, V v) { vst1q_f32(p, v); }
#else  // no kernel is built so, but the headers stand alone
  using V = float;
  static constexpr std::size_t kWidth = 1;
  DGQ_INLINE static V all(float x) { return x; }
  DGQ_INLINE static V load(const float* p) { return *p; }
  DGQ_INLINE static V from(const std::int32_t* p) { return static_cast<float>(*p); }
  DGQ_INLINE static V fma(V a, V b, V c) { return __builtin_fmaf(a, b, c); }
  DGQ_INLINE static V mul(V a, V b) { return a * b; }
  DGQ_INLINE static void store(float* p, V v) { *p = v; }
#endif
};

}  // namespace
}  // namespace dgq
