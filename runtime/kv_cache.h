// runtime/kv_cache.h - keys and values of one sequence, all layers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "runtime/config.h"

namespace dgq {

enum class KvType {
  int8,
  f32
};  // int8: one float scale per token and kv head (default); f32: the reference model

// The keys (or the values) of one layer and kv head, one row of head_dim per position, contiguous.
// Real value of element d at position t: int8: scale[t] * q[t][d]; f32: f[t][d].
struct KvHead {
  std::int8_t* q;  // [capacity][head_dim], or null
  float* scale;    // [capacity], or null
  float* f;        // [capacity][head_dim], or null
  std::size_t head_dim;

  void store(std::size_t position, const float* x) const;
  // Rows [first, first + count) as floats without their scale: in `buffer` [count][head_dim], or in place.
  const float* load(std::size_t first, std::size_t count, float* buffer) const;
  float scale_at(std::size_t position) const { return scale ? scale[position] : 1.0f; }
};

class KvCache {
 public:
  // Memory is reserved, not touched: pages become real as positions are filled. capacity > 0.
  KvCache(const ModelConfig& config, std::size_t capacity, KvType type);
  std::size_t capacity() const { return capacity_; }  // positions
  std::size_t bytes() const { return bytes_; }        // when full
  KvHead keys(std::size_t layer, std::size_t kv_head) const {
    return head(2 * (layer * kv_heads_ + kv_head));
  }
  KvHead values(std::size_t layer, std::size_t kv_head) const {
    return head(2 * (layer * kv_heads_ + kv_head) + 1);
  }

 private:
  KvHead head(std::size_t index) const;

  std::size_t capacity_, kv_heads_, head_dim_, bytes_;
  std::unique_ptr<std::int8_t[]> q_;  // [layer][kv head][keys, values][capacity][head_dim]; or null
  std::unique_ptr<float[]> floats_;   // int8: the scales [layer][kv head][2][capacity]; f32: the rows, as q_
};

}  // namespace dgq
