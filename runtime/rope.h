// runtime/rope.h - rotary position embedding: angles position * frequency[i], i < head_dim / 2.
#pragma once

#include <cstddef>
#include <vector>

#include "runtime/config.h"

namespace dgq {

// frequency[i] = rope_theta^(-2i / head_dim), scaled as config.rope_scaling says (Hugging Face,
// modeling_rope_utils).
std::vector<double> rope_frequencies(const ModelConfig& config);

// cos and sin of every position below a limit, computed in double and rounded to float.
class RopeTable {
 public:
  explicit RopeTable(const ModelConfig& config) : frequencies_(rope_frequencies(config)) {}
  void grow(std::size_t positions);  // afterwards every position below has its row
  const float* cosine(std::size_t position) const { return &table_[2 * position * frequencies_.size()]; }
  const float* sine(std::size_t position) const { return cosine(position) + frequencies_.size(); }

 private:
  std::vector<double> frequencies_;
  std::vector<float> table_;  // [position][2][head_dim / 2]: cosines, then sines
};

}  // namespace dgq
