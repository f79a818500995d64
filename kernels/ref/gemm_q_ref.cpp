#include <algorithm>
#include <cmath>

#include "kernels/ref/ref.h"

namespace dgq {
namespace {

// One output: blocks ascending, each sum exact in int32.
template <class Matrix>
float output(const Matrix& w, const QuantizedRows& x, std::size_t i, std::size_t j) {
  float t = 0;
  for (std::size_t b = 0; b * x.block < w.padded_k(); ++b) {
    std::int32_t sum = 0;
    for (std::size_t k = b * x.block; k < std::min((b + 1) * x.block, w.padded_k()); ++k)
      sum += x.q_of(i, k / kActBlock)[k % kActBlock] * w8_at(w, j, k);
    t = std::fma(x.scale_of(i, b), static_cast<float>(sum), t);
  }
  return w.bias ? std::fma(w.s1[j], t, w.bias[j]) : w.s1[j] * t;
}

template <class Matrix>
void gemm(const Matrix& w, const QuantizedRows& x, std::size_t block_begin, std::size_t block_end, float* y,
          std::size_t ldy) {
  for (std::size_t i = 0; i < x.m; ++i)
    for (std::size_t j = block_begin * kRowBlock; j < std::min(block_end * kRowBlock, w.n); ++j)
      y[i * ldy + j] = output(w, x, i, j);
}

}  // namespace

void gemm_w4a8_ref(const W4Matrix& w, const QuantizedRows& x, std::size_t block_begin, std::size_t block_end,
                   float* y, std::size_t ldy) noexcept {
  gemm(w, x, block_begin, block_end, y, ldy);
}

void gemm_w6a8_ref(const W6Matrix& w, const QuantizedRows& x, std::size_t block_begin, std::size_t block_end,
                   float* y, std::size_t ldy) noexcept {
  gemm(w, x, block_begin, block_end, y, ldy);
}

void gemm_w8a8_ref(const W8Matrix& w, const QuantizedRows& x, std::size_t block_begin, std::size_t block_end,
                   float* y, std::size_t ldy) noexcept {
  gemm(w, x, block_begin, block_end, y, ldy);
}

}  // namespace dgq
