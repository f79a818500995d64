#include "runtime/attention.h"

#include <algorithm>
#include <cmath>

#include "runtime/ops.h"

namespace dgq {
namespace {

constexpr std::size_t kBlock =
    32;  // positions widened to float at a time: 8 KiB for heads of 64, well inside L1

// body(first, count, floats) over blocks of the rows below `length`.
template <class Body>
void for_each_block(const KvHead& head, std::size_t length, float* buffer, const Body& body) {
  for (std::size_t first = 0; first < length; first += kBlock) {
    const std::size_t count = std::min(kBlock, length - first);
    body(first, count, head.load(first, count, buffer));
  }
}

}  // namespace

void AttentionScratch::grow(std::size_t queries, std::size_t positions, std::size_t head_dim) {
  stride_ = std::max(stride_, positions);
  scores_.resize(std::max(scores_.size(), queries * stride_));
  sums_.resize(std::max(sums_.size(), queries));
  block_.resize(std::max(block_.size(), kBlock * head_dim));
}

void attend(const KvHead& keys, const KvHead& values, const AttentionRows& rows, AttentionScratch& scratch) {
  const std::size_t head_dim = keys.head_dim, queries = rows.rows * rows.heads;
  const std::size_t longest = rows.first_position + rows.rows;
  const auto offset = [&](std::size_t query) {
    return query / rows.heads * rows.stride + query % rows.heads * head_dim;
  };
  const auto length = [&](std::size_t query) { return rows.first_position + query / rows.heads + 1; };
  const float unit = static_cast<float>(1 / std::sqrt(static_cast<double>(head_dim)));

  for_each_block(keys, longest, scratch.block(), [&](std::size_t first, std::size_t count, const float* k) {
    for (std::size_t query = 0; query < queries; ++query) {
      const std::size_t visible = std::min(first + count, std::max(first, length(query))) - first;
      float* scores = scratch.scores(query) + first;
      for (std::size_t t = 0; t < visible; ++t)
        scores[t] =
            dot(rows.q + offset(query), k + t * head_dim, head_dim) * (keys.scale_at(first + t) * unit);
    }
  });

  for (std::size_t query = 0; query < queries; ++query) {
    float* scores = scratch.scores(query);
    scratch.sum(query) = softmax_numerators(scores, length(query));
    if (values.scale)
      for (std::size_t t = 0; t < length(query); ++t) scores[t] *= values.scale[t];
    std::fill_n(rows.out + offset(query), head_dim, 0.0f);
  }

  for_each_block(values, longest, scratch.block(), [&](std::size_t first, std::size_t count, const float* v) {
    for (std::size_t query = 0; query < queries; ++query) {
      const std::size_t visible = std::min(first + count, std::max(first, length(query))) - first;
      add_weighted_rows(scratch.scores(query) + first, v, visible, head_dim, rows.out + offset(query));
    }
  });

  for (std::size_t query = 0; query < queries; ++query) {
    const float inverse = 1.0f / scratch.sum(query);
    for (std::size_t d = 0; d < head_dim; ++d) rows.out[offset(query) + d] *= inverse;
  }
}

}  // namespace dgq
