// runtime/linear.h - one linear of the graph on a batch of rows, whatever its weights are made of.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

#include "kernels/table.h"
#include "runtime/buffer.h"
#include "runtime/parallel.h"
#include "runtime/weights.h"

namespace dgq {

// The input of one or more linears: m rows of k floats, and the same quantized if any of them wants that.
struct LinearInput {
  const float* x;  // [m][k]
  std::size_t m, k;
  QuantizedRows rows;  // valid if quantized
};

// Memory for the quantized rows of one input at a time.
class QuantizedBuffer {
 public:
  // act_block: kActBlock, or 0 for one scale per row.
  explicit QuantizedBuffer(std::size_t act_block) : act_block_(act_block) {}
  bool scales_chunks() const {
    return act_block_ == kActBlock;
  }  // each chunk of kActBlock columns has its scale
  // For m rows of k columns; what was there is gone. given: as quantize_rows() below.
  QuantizedRowsOut reserve(std::size_t m, std::size_t k, float given = 0);

 private:
  std::size_t act_block_;
  AlignedBuffer<std::int8_t> q_;
  AlignedBuffer<float> scale_;
  AlignedBuffer<ChunkSums> sums_;
};

// Rows [first, first + rows) of `to` from x: [rows][k]. given: the scale of all of them, or 0 where each block's is found.
inline void quantize_rows(const QuantizeRowsKernel& kernel, const float* x, std::size_t k,
                          const QuantizedRowsOut& to, std::size_t first, std::size_t rows, float given) {
  if (given > 0) return kernel.given(x, k, k, to, first, rows, given);
  kernel.run(x, k, k, to, first, rows);
}

// x: [m][k] floats, quantized into `buffer`; rows are split over the threads. Both are borrowed. given: as above.
LinearInput quantize_input(const float* x, std::size_t m, std::size_t k, const QuantizeRowsKernel& kernel,
                           QuantizedBuffer& buffer, int threads, float given = 0);

inline QuantizedRows view(const QuantizedRowsOut& x) {
  return {x.m, x.stride, x.block, x.q, x.scale, x.sums};
}

// Some chunks of kActBlock columns of the same rows. Precondition: each chunk has its own scale.
inline QuantizedRowsOut only_chunks(const QuantizedRowsOut& x, std::size_t chunk, std::size_t chunks) {
  return {x.m,
          chunks * kActBlock,
          kActBlock,
          x.q + chunk * x.m * kActBlock,
          x.scale + chunk * x.m,
          x.sums + chunk * x.m};
}

// Row `row` of the weights as floats, out[k]; the bias is not added.
inline void copy_row(const F32Matrix& w, std::size_t row, float* out) {
  std::copy_n(w.w + row * w.k, w.k, out);
}
template <int kBits>
void copy_row(const FineMatrix<kBits>& w, std::size_t row, float* out) {
  unpack_row(w, row, out);
}
inline void copy_row(const W8Matrix& w, std::size_t row, float* out) { unpack_row(w, row, out); }

std::size_t output_rows(const Linear& linear);
std::size_t output_blocks(const Linear& linear);  // of 16 output rows
bool is_quantized(const Linear& linear);

// The output blocks [begin, end) for all rows. y: [m][ldy] from the first row of block `begin` on. Thread-safe for
// disjoint blocks.
void run_blocks(const Linear& linear, const LinearInput& input, const Kernels& kernels, std::size_t begin,
                std::size_t end, float* y, std::size_t ldy);

struct LinearJob {
  const Linear* linear;
  float* y;  // [m][output rows]
};

// Several linears of one input as one loop over all their blocks, so that threads wait for each other once.
// after(job, first, last): output rows [first, last) of a job are there, for all rows of the input.
template <class After>
void run_linears(const LinearInput& x, std::span<const LinearJob> jobs, const Kernels& kernels, int threads,
                 const After& after) {
  std::size_t total = 0;
  for (const LinearJob& job : jobs) total += output_blocks(*job.linear);
  parallel_ranges(threads, total, [&](std::size_t begin, std::size_t end, int) {
    std::size_t base = 0;
    for (const LinearJob& job : jobs) {
      const std::size_t blocks = output_blocks(*job.linear), n = output_rows(*job.linear);
      const std::size_t from = std::clamp(begin, base, base + blocks) - base,
                        to = std::clamp(end, base, base + blocks) - base;
      if (from < to) {
        run_blocks(*job.linear, x, kernels, from, to, job.y + from * kRowBlock, n);
        after(job, from * kRowBlock, std::min(to * kRowBlock, n));
      }
      base += blocks;
    }
  });
}
inline void run_linears(const LinearInput& x, std::span<const LinearJob> jobs, const Kernels& kernels,
                        int threads) {
  run_linears(x, jobs, kernels, threads, [](const auto&...) {});
}

// sum = other + job.y, all [m][output rows], where sum may be either of them.
void run_linear_onto(const LinearJob& job, const LinearInput& x, const float* other, float* sum,
                     const Kernels& kernels, int threads);

}  // namespace dgq
