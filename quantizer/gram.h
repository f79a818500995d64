// quantizer/gram.h - H = X^T X of rows that went through a linear layer: what its errors are judged with.
//
// A product of X^T with itself on the integer kernels: each column of X is rounded to int8 by its own largest value of a block
// of rows, so that columns as far apart as outliers are keep their precision. The rounding adds about max^2 / (12 * 127^2) to
// a mean square: 1e-4 of it where the largest is five times the root mean square.
#pragma once

#include <cstddef>
#include <vector>

#include "kernels/table.h"
#include "runtime/linear.h"

namespace dgq {

// Sums rows in blocks of a fixed size, so the result has the same bits however the rows were cut into calls, for every
// kernel and number of threads. Holds k * k + 2 * kBlock * k floats.
class Gram {
 public:
  Gram(const Kernels& kernels, std::size_t k, int threads);

  void add(const float* x, std::size_t m);  // [m][k]
  // [k][k]. The object is spent.
  std::vector<float> finish();

 private:
  static constexpr std::size_t kBlock =
      2048;  // rows per product: long enough to hide the additions to the sum

  // Some columns of X in a block of rows, on both sides of the product.
  struct Tile {
    std::size_t first, count;           // of the columns
    QuantizedBuffer buffer{0};          // one scale per column
    QuantizedRows x{};                  // [count][rows]
    AlignedBuffer<std::byte> packed{};  // the same as weights
    W8Matrix w{};
  };

  void flush();
  void round(Tile& tile);
  void multiply(const Tile& rows, const Tile& columns, float* product);

  Kernels kernels_;
  std::size_t k_, filled_ = 0;
  int threads_;
  std::vector<float> x_;  // [k][kBlock]: the block, transposed
  std::vector<Tile> tiles_;
  std::vector<float> sum_;  // on and below the diagonal until finish()
};

}  // namespace dgq
