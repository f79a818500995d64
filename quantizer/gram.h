// quantizer/gram.h - H = X^T X of rows that went through a linear layer: what its errors are judged with.
#pragma once

#include <cstddef>
#include <vector>

#include "kernels/gemm_f32.h"

namespace dgq {

// Sums rows in blocks of a fixed size, so the result has the same bits however the rows were cut into calls, for every
// kernel and number of threads. Holds k * k + kBlock * k floats.
class Gram {
 public:
  Gram(const GemmF32Kernel& gemm, std::size_t k, int threads)
      : gemm_(&gemm), k_(k), threads_(threads), x_(k * kBlock), sum_(k * k) {}

  void add(const float* x, std::size_t m);  // [m][k]
  // [k][k]. The object is spent.
  std::vector<float> finish();

 private:
  static constexpr std::size_t kBlock =
      512;  // rows per product: long enough to hide the additions to the sum

  void flush();

  const GemmF32Kernel* gemm_;
  std::size_t k_, filled_ = 0;
  int threads_;
  std::vector<float> x_;    // [k][kBlock]: the block, transposed; unfilled rows are 0
  std::vector<float> sum_;  // the lower triangle until finish()
};

}  // namespace dgq
