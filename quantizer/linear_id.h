// quantizer/linear_id.h - the linears of a layer by number.
#pragma once

#include <array>
#include <cstddef>

#include "runtime/decoder.h"

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

// What it reads.
inline TapPoint input_of(LinearId id) {
  switch (id) {
    case LinearId::o:
      return TapPoint::o;
    case LinearId::gate:
    case LinearId::up:
      return TapPoint::gate;
    case LinearId::down:
      return TapPoint::down;
    default:
      return TapPoint::q;
  }
}

// The first linear that reads the same input.
inline LinearId first_reader(LinearId id) {
  constexpr LinearId kFirst[] = {LinearId::q, LinearId::o, LinearId::gate, LinearId::down};  // by TapPoint
  return kFirst[static_cast<std::size_t>(input_of(id))];
}

}  // namespace dgq
