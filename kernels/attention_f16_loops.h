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

  // f(std::integral_constant<std::size_t, count>), 1 <= count <= kMost
  template <std::size_t kMost, class Call>
  DGQ_INLINE static void with_constant(std::size_t count, const Call& call) {
    if constexpr (kMost > 1) {
      if (count < kMost) return with_constant<kMost - 1>(count, call);
    }
    call(std::integral_constant<std::size_t, kMost>{});
  }

  // One step of the tree for two vectors whose blocks of kBlock lanes are to be added up: the halves of each block are added, and the
  // two results stand side by side in its place. Of longer blocks one side of the sum is a blend, which costs less than a shuffle.
  template <std::size_t kBlock, std::size_t... kLane>
  DGQ_INLINE static F add_halves(F a, F b, std::index_sequence<kLane...>) {
    constexpr auto from = [](std::size_t lane, bool other) {
      constexpr std::size_t kHalf = kBlock / 2;
      const std::size_t at = lane % kBlock, block = lane - at, half = (kBlock > 2 && at >= kHalf) != other;
      return static_cast<int>(block + at % kHalf + half * kHalf + (at < kHalf ? 0 : kWidth));
    };
    return __builtin_shufflevector(a, b, from(kLane, false)...) +
           __builtin_shufflevector(a, b, from(kLane, true)...);
  }

  // The trees of kWidth positions, whose first step is done: pairs[i] has it of positions i and i + kWidth / 2.
  template <std::size_t kStep = 1>
  DGQ_INLINE static F trees(const F* pairs) {
    if constexpr (2 * kStep < kWidth) {
      return add_halves<2 * kStep>(trees<2 * kStep>(pairs), trees<2 * kStep>(pairs + kStep),
                                   std::make_index_sequence<kWidth>());
    } else {
      return *pairs;
    }
  }

  // Scores of kWidth positions without the mask; from position n on they may be anything. kDim: key_dim, or 0 for any.
  template <std::size_t kCount, std::size_t kDim>
  DGQ_INLINE static void multiply_keys(const AttentionBlock& b, std::size_t row, std::size_t first,
                                       std::size_t n, Weights* s) {
    constexpr std::size_t kHalf = kWidth / 2;
    const std::size_t dim = kDim == 0 ? b.key_dim : kDim;
    const auto key = [&](std::size_t p) { return b.k + (p < n ? p : n - 1) * b.k_stride; };
    F pairs[kCount][kHalf];
    for (std::size_t p = 0; p < kHalf; ++p) {
      const std::uint16_t* keys[] = {key(first + p), key(first + p + kHalf)};
      F sum[kCount][2][kParts] = {};
      for (std::size_t i = 0; i < dim; i += kLanes)
#pragma GCC unroll 4
        for (std::size_t part = 0; part < kParts; ++part) {
          const std::size_t at = i + part * kWidth;
          const F k[] = {Types::load_f16(keys[0] + at), Types::load_f16(keys[1] + at)};
#pragma GCC unroll 4
          for (std::size_t r = 0; r < kCount; ++r) {
            const F query = load(b.q + (row + r) * dim + at);
            sum[r][0][part] = Types::fma(query, k[0], sum[r][0][part]);
            sum[r][1][part] = Types::fma(query, k[1], sum[r][1][part]);
          }
        }
#pragma GCC unroll 4
      for (std::size_t r = 0; r < kCount; ++r)
        pairs[r][p] = add_halves<kWidth>(Base::in_one(sum[r][0]), Base::in_one(sum[r][1]),
                                         std::make_index_sequence<kWidth>());
    }
    for (std::size_t r = 0; r < kCount; ++r) store(s[r] + first, trees(pairs[r]));
  }

  // Adds the mask to the n scores of a row, and makes -infinity of what is past them, up to a multiple of 16. The highest.
  DGQ_INLINE static float add_mask(const std::uint16_t* mask, std::size_t n, float* s) {
    F highest = all(kNothing);
    const auto add = [&](std::size_t p, const std::uint16_t* from) {
      const F sum = from ? load(s + p) + Types::load_f16(from) : load(s + p);
      highest = Base::larger(highest, sum);
      store(s + p, sum);
    };
    std::size_t p = 0;
    for (; p + kWidth <= n; p += kWidth) add(p, mask ? mask + p : nullptr);
    if (p < n) {
      for (std::size_t i = n; i < p + kWidth; ++i) s[i] = kNothing;
      std::uint16_t tail[kWidth] = {};
      if (mask) __builtin_memcpy(tail, mask + p, (n - p) * sizeof *mask);
      add(p, mask ? tail : nullptr);
      p += kWidth;
    }
    for (; p % kLanes != 0; p += kWidth) store(s + p, all(kNothing));
    return Base::joined(highest, Base::larger);
  }

  // What a score's distance from the highest is taken from: 0 where all are -infinity, so that their weights are 0 and no NaN.
  DGQ_INLINE static float base_of(float highest) { return highest == kNothing ? 0 : highest; }

  // Scores to weights; places: a multiple of 16. Their sum.
  DGQ_INLINE static float weigh(float* s, std::size_t places, float max) {
    typename Base::Sum total;
    const float base = base_of(max);
    for (std::size_t p = 0; p < places; p += kLanes) {
      for (std::size_t i = p; i < p + kLanes; i += kWidth) store(s + i, exp_f32_of<F, I>(load(s + i) - base));
      total.add(s + p, [](F v) { return v; });
    }
    return total.tree();
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
        for (std::size_t p = 0; p < b.positions; p += kWidth) {
          // 64, of most small models: the rows of q stay in registers where there are enough.
          if (b.key_dim == 64)
            multiply_keys<count(), 64>(b, row, p, b.positions, w);
          else
            multiply_keys<count(), 0>(b, row, p, b.positions, w);
        }
        float* max = state.max + row;
        for (std::size_t r = 0; r < count; ++r)
          max[r] =
              add_mask(b.mask ? b.mask + (row + r) / b.group * b.mask_stride : nullptr, b.positions, w[r]);
        for (std::size_t r = 0; r < count; ++r) state.sum[row + r] = weigh(w[r], places, max[r]);
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
