// quantizer/linear_id.h - the linears of a layer by number.
#pragma once

#include <array>
#include <cstddef>

#include "runtime/weights.h"

namespace dgq {

// In the order of LayerWeights.
enum class LinearId : std::size_t { q, k, v, o, gate, up, down };
inline constexpr std::size_t kLinears = 7;

inline std::array<Linear*, kLinears> linears_of(LayerWeights& w) {
  return {&w.q, &w.k, &w.v, &w.o, &w.gate, &w.up, &w.down};
}
inline std::array<const Linear*, kLinears> linears_of(const LayerWeights& w) {
  return {&w.q, &w.k, &w.v, &w.o, &w.gate, &w.up, &w.down};
}

}  // namespace dgq
