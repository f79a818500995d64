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
  const std::size_t head_dim = keys.head_dim, longest = rows.first_position + rows.rows;
  const float unit = static_cast<float>(1 / std::sqrt(static_cast<double>(head_dim)));

  // body(query, offset of its floats in q and out, how many positions it sees)
  const auto for_each_query = [&](const auto& body) {
    for (std::size_t row = 0; row < rows.rows; ++row)
      for (std::size_t head = 0; head < rows.heads; ++head)
        body(row * rows.heads + head, row * rows.stride + head * head_dim, rows.first_position + row + 1);
  };

  for_each_block(keys, longest, scratch.block(), [&](std::size_t first, std::size_t count, const float* k) {
    for_each_query([&](std::size_t query, std::size_t offset, std::size_t length) {
      float* scores = scratch.scores(query);
      for (std::size_t t = first; t < std::min(first + count, length); ++t)
        scores[t] = dot(rows.q + offset, k + (t - first) * head_dim, head_dim) * (keys.scale_at(t) * unit);
    });
  });

  for_each_query([&](std::size_t query, std::size_t offset, std::size_t length) {
    float* scores = scratch.scores(query);
    scratch.sum(query) = softmax_numerators(scores, length);
    if (values.scale)
      for (std::size_t t = 0; t < length; ++t) scores[t] *= values.scale[t];
    std::fill_n(rows.out + offset, head_dim, 0.0f);
  });

  for_each_block(values, longest, scratch.block(), [&](std::size_t first, std::size_t count, const float* v) {
    for_each_query([&](std::size_t query, std::size_t offset, std::size_t length) {
      if (first < length)
        add_weighted_rows(scratch.scores(query) + first, v, std::min(count, length - first), head_dim,
                          rows.out + offset);
    });
  });

  for_each_query([&](std::size_t query, std::size_t offset, std::size_t) {
    const float inverse = 1.0f / scratch.sum(query);
    for (std::size_t d = 0; d < head_dim; ++d) rows.out[offset + d] *= inverse;
  });
}

}  // namespace dgq
