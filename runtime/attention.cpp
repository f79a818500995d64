#include "runtime/attention.h"

#include <algorithm>
#include <cmath>

#include "runtime/linear.h"
#include "runtime/ops.h"

namespace dgq {
namespace {

struct Task {
  const KvCache& cache;
  std::size_t layer, kv_head, head_dim;
  const AttentionRows& rows;
  const Kernels& kernels;
  AttentionScratch& scratch;

  std::size_t longest() const { return rows.first_position + rows.rows; }
  std::size_t queries() const { return rows.rows * rows.heads; }
  std::size_t score_stride() const { return round_up(longest(), kActBlock); }
  float unit() const { return static_cast<float>(1 / std::sqrt(static_cast<double>(head_dim))); }

  // body(query, offset of its floats in q and out, how many positions it sees)
  template <class Body>
  void for_each_query(const Body& body) const {
    for (std::size_t row = 0; row < rows.rows; ++row)
      for (std::size_t head = 0; head < rows.heads; ++head)
        body(row * rows.heads + head, row * rows.stride + head * head_dim, rows.first_position + row + 1);
  }

  QuantizedRowsOut quantized(std::size_t m, std::size_t columns) const {
    const std::size_t stride = round_up(columns, kActBlock);
    return {m, stride, kActBlock, scratch.q.data(), scratch.scale.data(), scratch.q_sums.data()};
  }

  void run_int8() const {
    const FloatOps& ops = *kernels.float_ops->run;
    float *scores = scratch.scores.data(), *mixed = scratch.mixed.data();
    const std::size_t stride = score_stride(), length = longest();

    const QuantizedRowsOut q = quantized(queries(), head_dim);
    for (std::size_t row = 0; row < rows.rows; ++row)
      kernels.quantize_rows->run(rows.q + row * rows.stride, head_dim, head_dim, q, row * rows.heads,
                                 rows.heads);
    const W8Matrix keys = cache.keys(layer, kv_head, length);
    run_gemm(*kernels.gemm_w8a8, keys, view(q), 0, keys.blocks(), scores, stride);

    const float* value_scales = cache.value_scales(layer, kv_head);
    for_each_query([&](std::size_t query, std::size_t, std::size_t sees) {
      float* s = scores + query * stride;
      scratch.sums.data()[query] = ops.softmax(s, sees, unit());
      ops.multiply(s, value_scales, sees);
      std::fill(s + sees, s + length, 0.0f);
    });

    // Rounded twice, the second time what the first left over: with one step of 1/127 of the largest, many small weights
    // beside a large one would all vanish.
    const QuantizedRowsOut p = quantized(2 * queries(), length);
    kernels.quantize_rows->twice(scores, stride, length, p, 0, queries(), queries());
    const W8Matrix values = cache.values(layer, kv_head, length);
    run_gemm(*kernels.gemm_w8a8, values, view(p), 0, values.blocks(), mixed, head_dim);
    for_each_query([&](std::size_t query, std::size_t offset, std::size_t) {
      ops.add(mixed + query * head_dim, mixed + (queries() + query) * head_dim, head_dim);
      ops.scale(mixed + query * head_dim, 1.0f / scratch.sums.data()[query], head_dim, rows.out + offset);
    });
  }

  void run_f32() const {
    const FloatOps& ops = *kernels.float_ops->run;
    const float *keys = cache.key_rows(layer, kv_head), *values = cache.value_rows(layer, kv_head);
    for_each_query([&](std::size_t query, std::size_t offset, std::size_t sees) {
      float* s = scratch.scores.data() + query * score_stride();
      kernels.gemm_f32->run({sees, head_dim, keys, nullptr}, rows.q + offset, head_dim, 1, 0, sees, s, sees);
      const float sum = ops.softmax(s, sees, unit());
      std::fill_n(rows.out + offset, head_dim, 0.0f);
      add_weighted_rows(s, values, sees, head_dim, rows.out + offset);
      ops.scale(rows.out + offset, 1.0f / sum, head_dim, rows.out + offset);
    });
  }
};

}  // namespace

void AttentionScratch::grow(std::size_t queries, std::size_t positions, std::size_t head_dim) {
  constexpr std::size_t kStep = 1024;  // so that a growing sequence asks for memory now and then only
  const std::size_t columns = std::max(round_up(positions, kStep), round_up(head_dim, kActBlock));
  scores.at_least(queries * columns);
  sums.at_least(queries);
  mixed.at_least(2 * queries * head_dim);
  q.at_least(2 * queries * columns);
  scale.at_least(2 * queries * (columns / kActBlock));
  q_sums.at_least(2 * queries * (columns / kActBlock));
}

std::size_t attention_rows(std::size_t heads, std::size_t positions) {
  constexpr std::size_t kQueries = 128, kScores = std::size_t{1} << 18;  // 1 MiB
  return std::max<std::size_t>(1, std::min(kQueries, kScores / positions) / heads);
}

void attend(const KvCache& cache, std::size_t layer, std::size_t kv_head, std::size_t head_dim,
            const AttentionRows& rows, const Kernels& kernels, AttentionScratch& scratch) {
  const Task task{cache, layer, kv_head, head_dim, rows, kernels, scratch};
  if (cache.type() == KvType::int8)
    task.run_int8();
  else
    task.run_f32();
}

}  // namespace dgq
