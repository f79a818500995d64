#include "runtime/linear.h"

#include <algorithm>

#include "runtime/parallel.h"

namespace dgq {
namespace {

struct RunBlocks {
  const LinearInput& input;
  const Kernels& kernels;
  std::size_t begin, end;
  float* y;
  std::size_t ldy;

  void operator()(const F32Matrix& w) const {
    kernels.gemm_f32->run(w, input.x, input.k, input.m, std::min(w.n, begin * kRowBlock),
                          std::min(w.n, end * kRowBlock), y, ldy);
  }
  void operator()(const W4Matrix& w) const {
    run_gemm(*kernels.gemm_w4a8, w, input.rows, begin, end, y, ldy);
  }
  void operator()(const W8Matrix& w) const {
    run_gemm(*kernels.gemm_w8a8, w, input.rows, begin, end, y, ldy);
  }
};

}  // namespace

LinearInput InputQuantizer::prepare(const float* x, std::size_t m, std::size_t k, bool quantize,
                                    int threads) {
  if (!quantize) return {x, m, k, {}};
  const std::size_t stride = round_up(k, kActBlock), block = act_block_ == 0 ? stride : act_block_;
  const std::size_t scales = stride / block, sums = stride / kSumGroup;
  const QuantizedRowsOut out{
      m, stride, block, q_.at_least(m * stride), scale_.at_least(m * scales), sums_.at_least(m * sums)};
  parallel_ranges(threads, m, [&](std::size_t begin, std::size_t end, int) {
    kernel_.run(x + begin * k, k, k, out, begin, end - begin);
  });
  return {x, m, k, {m, stride, block, out.q, out.scale, out.sums}};
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
  std::visit(RunBlocks{input, kernels, begin, end, y, ldy}, linear);
}

}  // namespace dgq
