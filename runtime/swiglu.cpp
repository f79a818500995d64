#include "runtime/swiglu.h"

#include <algorithm>

#include "runtime/parallel.h"

namespace dgq {
namespace {

// Columns that are done at a time: whole chunks, few enough for m rows to stay in the cache, many enough that decoding reads its
// weights in long runs.
std::size_t piece_columns(std::size_t m) {
  constexpr std::size_t kFloats = 32768;
  return std::max(kActBlock, kFloats / std::max<std::size_t>(m, 1) / kActBlock * kActBlock);
}

}  // namespace

LinearInput SwigluInput::run(const Linear& gate, const Linear& up, const LinearInput& x,
                             const Kernels& kernels, int threads) {
  const std::size_t m = x.m, width = output_rows(gate), piece_chunks = piece_columns(m) / kActBlock;
  const QuantizedRowsOut to = quantized_.reserve(m, width);
  own_.resize(std::max(own_.size(), static_cast<std::size_t>(std::max(threads, 1))));
  for (Thread& thread : own_) {
    thread.gate.at_least(m * piece_columns(m));
    thread.up.at_least(m * piece_columns(m));
  }
  parallel_ranges(threads, to.stride / kActBlock, [&](std::size_t begin, std::size_t end, int thread) {
    const Thread& own = own_[static_cast<std::size_t>(thread)];
    float *gates = own.gate.data(), *ups = own.up.data();
    for (std::size_t chunk = begin; chunk < end; chunk += piece_chunks) {
      const std::size_t chunks = std::min(piece_chunks, end - chunk), stride = chunks * kActBlock;
      const std::size_t columns = std::min(stride, width - chunk * kActBlock);
      const std::size_t first = chunk * kActBlock / kRowBlock,
                        last = first + round_up(columns, kRowBlock) / kRowBlock;
      run_blocks(gate, x, kernels, first, last, gates, stride);
      run_blocks(up, x, kernels, first, last, ups, stride);
      for (std::size_t i = 0; i < m; ++i)
        kernels.float_ops->run->swiglu(gates + i * stride, ups + i * stride, columns);
      kernels.quantize_rows->run(gates, stride, columns, only_chunks(to, chunk, chunks), 0, m);
    }
  });
  return {nullptr, m, width, view(to)};
}

}  // namespace dgq
