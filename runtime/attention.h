// runtime/attention.h - causal attention of some rows of one sequence over the keys and values of one kv head.
//
//   s[t] = q . k[t],  t = 0..position          p[t] = e^((s[t] - max s) / sqrt(head_dim))
//   out  = ( sum over t of p[t] * v[t] ) * (1 / sum over t of p[t])
//
// Over an int8 cache both products are W8A8 (kernels/gemm_q.h), exact in integers and so the same bits on every CPU:
// q is quantized per head, and p[t] * v_scale[t] per 128 positions to twice 8 bits. On the 44M model that moves the
// perplexity from 22.193 (the same in float) to 22.197. Over an f32 cache everything is float, sums as in ops.h.
//
// The query heads that share the kv head are done together: they are rows of one product.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/table.h"
#include "runtime/buffer.h"
#include "runtime/kv_cache.h"

namespace dgq {

struct AttentionRows {
  std::size_t rows,
      first_position;  // row i stands at first_position + i; its own key and value are stored already
  std::size_t heads;   // query heads that share the kv head
  const float* q;      // row i, head h: q + i * stride + h * head_dim; rotated
  float* out;          // likewise; overwritten
  std::size_t stride;  // floats
};

// Of one thread.
struct AttentionScratch {
  AlignedBuffer<float> scores, sums, scale, mixed;
  AlignedBuffer<std::int8_t> q;
  AlignedBuffer<ChunkSums> q_sums;

  // Room for `queries` (rows * heads) over `positions` positions.
  void grow(std::size_t queries, std::size_t positions, std::size_t head_dim);
};

// Rows that one call should take, so that its scores stay in the cache: at least 1. The result does not depend on it.
std::size_t attention_rows(std::size_t heads, std::size_t positions);

void attend(const KvCache& cache, std::size_t layer, std::size_t kv_head, std::size_t head_dim,
            const AttentionRows& rows, const Kernels& kernels, AttentionScratch& scratch);

}  // namespace dgq
