// kernels/attention_f16_loops.h - attention_f16.h for vectors of any width up to 16 floats: AttentionLoops<Types>::kFunctions. A
// kernel file brings, beside the types that float_ops_loops.h wants:
//
//   Types::load_f16(p) Types::store_f16(p, v)   as many float16 numbers as floats in a vector
//   Types::fma(a, b, sum)                       a * b + sum, rounded once
//   Types::kTiles                               groups of 16 columns of v whose sums, of kRows rows each, fit the registers
//
// In an unnamed namespace: each kernel file has its own copy, compiled with its own flags.
#pragma once

#include <utility>

#include "kernels/attention_f16.h"
#include "kernels/float_ops_loops.h"

namespace dgq {
namespace {

template <class Types>
struct AttentionLoops : Vectors<Types> {
  using Base = Vectors<Types>;
  using Base::kParts, Base::kWidth, Base::load, Base::store, Base::all;
  using typename Base::F;
  using typename Base::I;

  static constexpr std::size_t kRows = 4;  // of q that share each load of k or v
  static constexpr float kNothing = -__builtin_inff();
  using Weights = float[kAttentionBlock];  // of a row: its scores, then e^(score - max)
  using Lanes = float[kLanes];

  // f(std::integral_constant<std::size_t, count>), 1 <= count <= kMost
  template <std::size_t kMost, class Call>
  DGQ_INLINE static void with_constant(std::size_t count, const Call& call) {
    if constexpr (kMost > 1) {
      if (count < kMost) return with_constant<kMost - 1>(count, call);
    }
    call(std::integral_constant<std::size_t, kMost>{});
  }

  // One step of the tree for two vectors whose blocks of kBlock lanes are to be added up: the halves of each block are added, and the
  // two results stand side by side in its place.
  template <std::size_t kBlock, std::size_t... kLane>
  DGQ_INLINE static F add_halves(F a, F b, std::index_sequence<kLane...>) {
    constexpr auto from = [](std::size_t lane, std::size_t half) {
      constexpr std::size_t kHalf = kBlock / 2;
      const std::size_t at = lane % kBlock;
      return static_cast<int>(lane - at + at % kHalf + half * kHalf + (at < kHalf ? 0 : kWidth));
    };
    return __builtin_shufflevector(a, b, from(kLane, 0)...) +
           __builtin_shufflevector(a, b, from(kLane, 1)...);
  }

  // The trees of lanes[0], [kStep], [2 * kStep], ...: as many as a block of kWidth / kStep lanes has.
  template <std::size_t kStep = 1>
  DGQ_INLINE static F trees(const Lanes* lanes) {
    if constexpr (kStep < kWidth) {
      return add_halves<2 * kStep>(trees<2 * kStep>(lanes), trees<2 * kStep>(lanes + kStep),
                                   std::make_index_sequence<kWidth>());
    } else {
      F part[kParts];
      for (std::size_t i = 0; i < kParts; ++i) part[i] = load(*lanes + kWidth * i);
      for (std::size_t width = kParts / 2; width > 0; width /= 2)
        for (std::size_t i = 0; i < width; ++i) part[i] += part[i + width];
      return part[0];
    }
  }

  // Scores of n <= 16 positions without the mask, in 16 places.
  template <std::size_t kCount>
  DGQ_INLINE static void multiply_keys(const AttentionBlock& b, std::size_t row, std::size_t first,
                                       std::size_t n, Weights* s) {
    alignas(64) Lanes lanes[kCount][kLanes];
    const float* q = b.q + row * b.key_dim;
    for (std::size_t p = 0; p < n; ++p) {
      const std::uint16_t* key = b.k + (first + p) * b.k_stride;
      F sum[kCount][kParts] = {};
      for (std::size_t i = 0; i < b.key_dim; i += kLanes)
#pragma GCC unroll 4
        for (std::size_t part = 0; part < kParts; ++part) {
          const F k = Types::load_f16(key + i + part * kWidth);
#pragma GCC unroll 4
          for (std::size_t r = 0; r < kCount; ++r)
            sum[r][part] = Types::fma(load(q + r * b.key_dim + i + part * kWidth), k, sum[r][part]);
        }
#pragma GCC unroll 4
      for (std::size_t r = 0; r < kCount; ++r)
#pragma GCC unroll 4
        for (std::size_t part = 0; part < kParts; ++part) store(lanes[r][p] + part * kWidth, sum[r][part]);
    }
    for (std::size_t p = n; p < kLanes; ++p)
      for (std::size_t r = 0; r < kCount; ++r) __builtin_memset(lanes[r][p], 0, sizeof(Lanes));
    for (std::size_t r = 0; r < kCount; ++r)
      for (std::size_t p = 0; p < kLanes; p += kWidth) store(s[r] + first + p, trees(lanes[r] + p));
  }

  // Adds the mask to the scores of a row, and turns what is past the last position, up to a multiple of 16, into -infinity.
  DGQ_INLINE static void add_mask(const std::uint16_t* mask, std::size_t n, float* s) {
    std::size_t p = 0;
    if (mask)
      for (; p + kWidth <= n; p += kWidth) store(s + p, load(s + p) + Types::load_f16(mask + p));
    if (mask && p < n) {
      std::uint16_t tail[kWidth] = {};
      __builtin_memcpy(tail, mask + p, (n - p) * sizeof *mask);
      store(s + p, load(s + p) + Types::load_f16(tail));
    }
    for (p = n; p % kLanes != 0; ++p) s[p] = kNothing;
  }

  // What a score's distance from the highest is taken from: 0 where all are -infinity, so that their weights are 0 and no NaN.
  DGQ_INLINE static float base_of(float highest) { return highest == kNothing ? 0 : highest; }

  // Scores to weights; places: a multiple of 16.
  DGQ_INLINE static void weigh(float* s, std::size_t places, float& max, float& sum) {
    max = Base::maximum(s, places);
    typename Base::Sum total;
    const float base = base_of(max);
    for (std::size_t p = 0; p < places; p += kLanes) {
      for (std::size_t i = p; i < p + kLanes; i += kWidth) store(s + i, exp_f32_of<F, I>(load(s + i) - base));
      total.add(s + p, [](F v) { return v; });
    }
    sum = total.tree();
  }

  template <std::size_t kCount, std::size_t kGroups>
  DGQ_INLINE static void multiply_values(const AttentionBlock& b, const Weights* w, const std::uint16_t* v,
                                         float* out) {
    constexpr std::size_t kVectors = kGroups * kParts;
    F sum[kCount][kVectors] = {};
    for (std::size_t p = 0; p < b.positions; ++p, v += b.v_stride) {
      F weight[kCount];
#pragma GCC unroll 4
      for (std::size_t r = 0; r < kCount; ++r) weight[r] = all(w[r][p]);
#pragma GCC unroll 4
      for (std::size_t c = 0; c < kVectors; ++c) {
        const F value = Types::load_f16(v + c * kWidth);
#pragma GCC unroll 4
        for (std::size_t r = 0; r < kCount; ++r) sum[r][c] = Types::fma(weight[r], value, sum[r][c]);
      }
    }
#pragma GCC unroll 4
    for (std::size_t r = 0; r < kCount; ++r)
#pragma GCC unroll 4
      for (std::size_t c = 0; c < kVectors; ++c) store(out + r * b.value_dim + c * kWidth, sum[r][c]);
  }

  static void run(const AttentionBlock& b, const AttentionState& state) noexcept {
    alignas(64) Weights w[kRows];
    const std::size_t places = (b.positions + kLanes - 1) / kLanes * kLanes;
    for (std::size_t row = 0; row < b.rows; row += kRows) {
      const std::size_t rows = b.rows - row < kRows ? b.rows - row : kRows;
      with_constant<kRows>(rows, [&](auto count) {
        for (std::size_t p = 0; p < b.positions; p += kLanes) {
          const std::size_t left = b.positions - p;
          multiply_keys<count()>(b, row, p, left < kLanes ? left : kLanes, w);
        }
        for (std::size_t r = 0; r < count; ++r) {
          add_mask(b.mask ? b.mask + (row + r) / b.group * b.mask_stride : nullptr, b.positions, w[r]);
          weigh(w[r], places, state.max[row + r], state.sum[row + r]);
        }
        constexpr std::size_t kColumns = Types::kTiles * kLanes;
        for (std::size_t j = 0; j < b.value_dim; j += kColumns) {
          const std::size_t groups = (b.value_dim - j) / kLanes;
          with_constant<Types::kTiles>(groups < Types::kTiles ? groups : Types::kTiles, [&](auto tiles) {
            multiply_values<count(), tiles()>(b, w, b.v + j, state.out + row * b.value_dim + j);
          });
        }
      });
    }
  }

  static void join(const AttentionState& a, const AttentionState& b, std::size_t rows,
                   std::size_t value_dim) noexcept {
    for (std::size_t r = 0; r < rows; ++r) {
      const float highest = a.max[r] < b.max[r] ? b.max[r] : a.max[r];
      const float base = base_of(highest), of_a = exp_f32_of<float, std::int32_t>(a.max[r] - base),
                  of_b = exp_f32_of<float, std::int32_t>(b.max[r] - base);
      a.max[r] = highest;
      a.sum[r] = a.sum[r] * of_a + b.sum[r] * of_b;
      for (std::size_t i = r * value_dim; i < (r + 1) * value_dim; i += kWidth)
        store(a.out + i, load(a.out + i) * of_a + load(b.out + i) * of_b);
    }
  }

  static void to_f16(const float* x, std::size_t n, std::uint16_t* out) noexcept {
    std::size_t i = 0;
    for (; i + kWidth <= n; i += kWidth) Types::store_f16(out + i, load(x + i));
    if (i == n) return;
    float tail[kWidth] = {};
    std::uint16_t halves[kWidth];
    __builtin_memcpy(tail, x + i, (n - i) * sizeof *x);
    Types::store_f16(halves, load(tail));
    __builtin_memcpy(out + i, halves, (n - i) * sizeof *out);
  }

  static constexpr AttentionF16 kFunctions = {run, join, to_f16};
};

}  // namespace
}  // namespace dgq
