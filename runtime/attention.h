// runtime/attention.h - causal attention of some rows of one sequence over the keys and values of one kv
// head.
//
//   s[t] = (q . k[t]) * (k_scale[t] / sqrt(head_dim)),  t = 0..position      (q . k as ops.h dot)
//   out  = ( sum over t ascending of (e^(s[t] - max s) * v_scale[t]) * v[t] ) * (1 / sum over t of e^(s[t] -
//   max s))
//
// The query heads that share the kv head are done together, so that a key or value is widened to float once
// for all.
#pragma once

#include <cstddef>
#include <vector>

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

class AttentionScratch {
 public:
  // Room for `queries` (rows * heads) over `positions` positions. Grows only.
  void grow(std::size_t queries, std::size_t positions, std::size_t head_dim);
  float* scores(std::size_t query) { return &scores_[query * stride_]; }
  float& sum(std::size_t query) { return sums_[query]; }
  float* block() { return block_.data(); }

 private:
  std::size_t stride_ = 0;
  std::vector<float> scores_, sums_, block_;
};

void attend(const KvHead& keys, const KvHead& values, const AttentionRows& rows, AttentionScratch& scratch);

}  // namespace dgq
