// quantizer/gram.h - X^T Y of rows that went through a linear layer: with Y = X the H that errors are judged with.
#pragma once

#include <cstddef>
#include <vector>

#include "kernels/gemm_f32.h"

namespace dgq {

// Sums rows in blocks of a fixed size, so the result has the same bits however the rows were cut into calls, for every
// kernel and number of threads. Holds k * k + kBlock * k floats (2 * kBlock * k with two sides).
class Gram {
 public:
  // X^T X.
  Gram(const GemmF32Kernel& gemm, std::size_t k, int threads) : Gram(gemm, k, threads, false) {}
  // X^T Y.
  static Gram of_two(const GemmF32Kernel& gemm, std::size_t k, int threads) {
    return Gram(gemm, k, threads, true);
  }

  void add(const float* x, std::size_t m) { add(x, x, m); }  // x: [m][k]
  void add(const float* x, const float* y, std::size_t m);   // with two sides
  // [k][k]. The object is spent.
  std::vector<float> finish();

 private:
  static constexpr std::size_t kBlock =
      512;  // rows per product: long enough to hide the additions to the sum

  Gram(const GemmF32Kernel& gemm, std::size_t k, int threads, bool two);
  void flush();

  const GemmF32Kernel* gemm_;
  std::size_t k_, filled_ = 0;
  int threads_;
  bool two_;
  std::vector<float> x_,
      y_;                   // [k][kBlock]: the block, transposed; unfilled rows are 0. y_ with two sides only
  std::vector<float> sum_;  // with one side the lower triangle until finish()
};

}  // namespace dgq
