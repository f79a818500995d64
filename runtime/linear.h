// runtime/linear.h - one linear of the graph on a batch of rows, whatever its weights are made of.
#pragma once

#include <cstddef>
#include <memory>
#include <new>

#include "kernels/table.h"
#include "runtime/weights.h"

namespace dgq {

// Uninitialised array of T on a 64-byte boundary that keeps its memory when asked for less.
template <class T>
class AlignedBuffer {
 public:
  T* at_least(std::size_t count) {
    if (count > count_) {
      data_.reset(static_cast<T*>(::operator new(count * sizeof(T), kAlign)));
      count_ = count;
    }
    return data_.get();
  }

 private:
  static constexpr std::align_val_t kAlign{64};
  struct Free {
    void operator()(T* p) const { ::operator delete(p, kAlign); }
  };
  std::unique_ptr<T, Free> data_;
  std::size_t count_ = 0;
};

// The input of one or more linears: m rows of k floats, and the same quantized if any of them wants that.
struct LinearInput {
  const float* x;  // [m][k]
  std::size_t m, k;
  QuantizedRows rows;  // valid if quantized
};

class InputQuantizer {
 public:
  // act_block: kActBlock, or 0 for one scale per row.
  InputQuantizer(const QuantizeRowsKernel& kernel, std::size_t act_block)
      : kernel_(kernel), act_block_(act_block) {}
  // x: [m][k]; borrowed, as is the result until the next call. Rows are split over the threads.
  LinearInput prepare(const float* x, std::size_t m, std::size_t k, bool quantize, int threads);

 private:
  const QuantizeRowsKernel& kernel_;
  std::size_t act_block_;
  AlignedBuffer<std::int8_t> q_;
  AlignedBuffer<float> scale_;
  AlignedBuffer<std::int16_t> sums_;
};

std::size_t output_rows(const Linear& linear);
std::size_t output_blocks(const Linear& linear);  // of 16 output rows
bool is_quantized(const Linear& linear);

// The output blocks [begin, end) for all rows: y [m][ldy]. Thread-safe for disjoint blocks.
void run_blocks(const Linear& linear, const LinearInput& input, const Kernels& kernels, std::size_t begin,
                std::size_t end, float* y, std::size_t ldy);

}  // namespace dgq
