#include "runtime/linear.h"

#include <algorithm>

#include "runtime/parallel.h"

namespace dgq {
namespace {

// The matrix of output rows [first, last), `first` a multiple of kRowBlock.
F32Matrix slice(const F32Matrix& w, std::size_t first, std::size_t last) {
  return {last - first, w.k, w.w + first * w.k, w.bias ? w.bias + first : nullptr};
}
template <int kBits>
FineMatrix<kBits> slice(const FineMatrix<kBits>& w, std::size_t first, std::size_t last) {
  const std::size_t q = first * w.padded_k(), steps = q / (8 * kRowBlock), fine = q / w.group;
  return {last - first,
          w.k,
          w.group,
          w.q + steps * kLowStepBytes,
          w.q_high + steps * w.kHighStepBytes,
          w.s2 + fine,
          w.o + fine,
          w.s1 + first,
          w.bias ? w.bias + first : nullptr};
}
W8Matrix slice(const W8Matrix& w, std::size_t first, std::size_t last) {
  return {last - first,           w.k,          w.stride,
          w.q + first * w.stride, w.s1 + first, w.bias ? w.bias + first : nullptr};
}

struct Run {
  const LinearInput& input;
  const Kernels& kernels;
  float* y;
  std::size_t ldy;

  void operator()(const F32Matrix& w) const {
    kernels.gemm_f32->run(w, input.x, input.k, input.m, 0, w.n, y, ldy);
  }
  void operator()(const W4Matrix& w) const {
    run_gemm(*kernels.gemm_w4a8, w, input.rows, 0, w.blocks(), y, ldy);
  }
  void operator()(const W6Matrix& w) const {
    run_gemm(*kernels.gemm_w6a8, w, input.rows, 0, w.blocks(), y, ldy);
  }
  void operator()(const W8Matrix& w) const {
    run_gemm(*kernels.gemm_w8a8, w, input.rows, 0, w.blocks(), y, ldy);
  }
};

}  // namespace

QuantizedRowsOut QuantizedBuffer::reserve(std::size_t m, std::size_t k, float given) {
  const std::size_t stride = round_up(k, kActBlock),
                    block = act_block_ == 0 || given > 0 ? stride : act_block_;
  return {m,
          stride,
          block,
          q_.at_least(m * stride),
          scale_.at_least(m * (stride / block)),
          sums_.at_least(m * (stride / kActBlock))};
}

LinearInput quantize_input(const float* x, std::size_t m, std::size_t k, const QuantizeRowsKernel& kernel,
                           QuantizedBuffer& buffer, int threads, float given) {
  const QuantizedRowsOut to = buffer.reserve(m, k, given);
  parallel_ranges(threads, m, [&](std::size_t begin, std::size_t end, int) {
    quantize_rows(kernel, x + begin * k, k, to, begin, end - begin, given);
  });
  return {x, m, k, view(to)};
}

std::size_t output_rows(const Linear& linear) {
  return std::visit([](const auto& w) { return w.n; }, linear);
}

std::size_t output_blocks(const Linear& linear) {
  return round_up(output_rows(linear), kRowBlock) / kRowBlock;
}

bool is_quantized(const Linear& linear) { return !std::holds_alternative<F32Matrix>(linear); }

void run_blocks(const Linear& linear, const LinearInput& input, const Kernels& kernels, std::size_t begin,
                std::size_t end, float* y, std::size_t ldy) {
  std::visit(
      [&](const auto& w) {
        const std::size_t first = begin * kRowBlock, last = std::min(end * kRowBlock, w.n);
        if (first < last) Run{input, kernels, y, ldy}(slice(w, first, last));
      },
      linear);
}

void run_linear_onto(const LinearJob& job, const LinearInput& x, const float* other, float* sum,
                     const Kernels& kernels, int threads) {
  const FloatOps& ops = *kernels.float_ops->run;
  const std::size_t width = output_rows(*job.linear);
  run_linears(x, std::span(&job, 1), kernels, threads,
              [&](const LinearJob&, std::size_t first, std::size_t last) {
                for (std::size_t i = 0; i < x.m; ++i) {
                  const std::size_t at = i * width + first;
                  const float* more = other;
                  if (sum == other)
                    more = job.y;
                  else if (sum != job.y)
                    std::copy_n(job.y + at, last - first, sum + at);
                  ops.add(sum + at, more + at, last - first);
                }
              });
}

}  // namespace dgq
