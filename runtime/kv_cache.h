// runtime/kv_cache.h - keys and values of one sequence, all layers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "runtime/config.h"

namespace dgq {

enum class KvType { int8, f32 };  // int8: one float scale per token and kv head (default); f32: the reference model

class KvCache {
 public:
  KvCache(const ModelConfig& config, std::size_t capacity, KvType type);
  std::size_t capacity() const;  // positions
  // (the rest belongs to decoder.cpp and is up to its author)
};

}  // namespace dgq
