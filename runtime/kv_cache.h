// runtime/kv_cache.h - keys and values of one sequence, all layers.
//
// int8 (the default): one float scale per token and kv head, packed as the linears' weights are (kernels/packed.h,
// n16k4), so that attention is two products of the kernels that run the linears:
//
//   keys of a layer and kv head     a W8 matrix: output row = position, column = dimension; s1 = the keys' scales
//   values                          a W8 matrix: output row = dimension, column = position; s1 = 1, their scales apart
//
// f32: plain rows, for the reference model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/packed.h"
#include "kernels/quantize_rows.h"
#include "runtime/config.h"

namespace dgq {

enum class KvType { int8, f32 };

class KvCache {
 public:
  // Memory is reserved, not touched: pages become real as positions are filled. capacity > 0. Throws std::bad_alloc.
  KvCache(const ModelConfig& config, std::size_t capacity, KvType type);
  KvCache(KvCache&&) noexcept = default;
  KvCache& operator=(KvCache&&) noexcept = default;

  KvType type() const { return type_; }
  std::size_t capacity() const { return capacity_; }  // positions
  std::size_t bytes() const { return bytes_; }        // when full

  // key, value: [head_dim], key rotated. position < capacity(). Thread-safe for different kv heads or positions.
  void store(std::size_t layer, std::size_t kv_head, std::size_t position, const float* key,
             const float* value, QuantizeRows& quantize);

  // int8, the first `length` positions. value_scales: [capacity].
  W8Matrix keys(std::size_t layer, std::size_t kv_head, std::size_t length) const;
  W8Matrix values(std::size_t layer, std::size_t kv_head, std::size_t length) const;
  const float* value_scales(std::size_t layer, std::size_t kv_head) const;

  // The memory that holds `length` positions from `first` on, in an order and of sizes that do not depend on the capacity; there
  // may be bytes of later positions in it, up to the next multiple of kPartPositions. first: such a multiple.
  static constexpr std::size_t kPartPositions = kRowBlock;
  std::vector<std::span<std::byte>> parts(std::size_t first, std::size_t length);
  std::vector<std::span<std::byte>> parts(std::size_t length) { return parts(0, length); }

  // f32: [capacity][head_dim].
  float* key_rows(std::size_t layer, std::size_t kv_head) const { return rows_of(2 * head(layer, kv_head)); }
  float* value_rows(std::size_t layer, std::size_t kv_head) const {
    return rows_of(2 * head(layer, kv_head) + 1);
  }

 private:
  std::size_t head(std::size_t layer, std::size_t kv_head) const { return layer * kv_heads_ + kv_head; }
  std::size_t head_bytes() const {
    return type_ == KvType::int8 ? key_bytes_ + value_bytes_ + 2 * scale_bytes_
                                 : 2 * capacity_ * head_dim_ * sizeof(float);
  }
  float* rows_of(std::size_t part) const {
    return reinterpret_cast<float*>(memory_.get()) + part * capacity_ * head_dim_;
  }
  // Of one layer and kv head: packed keys, packed values, key scales, value scales.
  std::byte* packed(std::size_t layer, std::size_t kv_head) const {
    return memory_.get() + head(layer, kv_head) * head_bytes();
  }

  struct Unmap {
    std::size_t bytes;
    void operator()(std::byte* p) const;
  };

  KvType type_;
  std::size_t capacity_;
  std::size_t
      stride_;  // capacity_ padded: positions from one block of dimensions to the next, scales of a head
  std::size_t kv_heads_, head_dim_, key_bytes_ = 0, value_bytes_ = 0, scale_bytes_ = 0, bytes_;
  std::unique_ptr<std::byte, Unmap> memory_;
  std::vector<float> ones_;  // s1 of the values
};

}  // namespace dgq
