#include "runtime/kv_cache.h"

#include <cstring>

#include "runtime/ops.h"

namespace dgq {

void KvHead::store(std::size_t position, const float* x) const {
  if (f) {
    std::memcpy(f + position * head_dim, x, head_dim * sizeof(float));
  } else {
    scale[position] = quantize_s8(x, head_dim, q + position * head_dim);
  }
}

const float* KvHead::load(std::size_t first, std::size_t count, float* buffer) const {
  if (f) return f + first * head_dim;
  to_float(q + first * head_dim, count * head_dim, buffer);
  return buffer;
}

KvCache::KvCache(const ModelConfig& config, std::size_t capacity, KvType type)
    : capacity_(capacity), kv_heads_(config.kv_heads), head_dim_(config.head_dim) {
  const std::size_t rows = 2 * config.layers * config.kv_heads * capacity;
  const bool int8 = type == KvType::int8;
  if (int8) q_ = std::make_unique_for_overwrite<std::int8_t[]>(rows * head_dim_);
  const std::size_t floats = int8 ? rows : rows * head_dim_;
  floats_ = std::make_unique_for_overwrite<float[]>(floats);
  bytes_ = floats * sizeof(float) + (int8 ? rows * head_dim_ : 0);
}

KvHead KvCache::head(std::size_t index) const {
  const std::size_t row = index * capacity_;
  if (q_) return {&q_[row * head_dim_], &floats_[row], nullptr, head_dim_};
  return {nullptr, nullptr, &floats_[row * head_dim_], head_dim_};
}

}  // namespace dgq
