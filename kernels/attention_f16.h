// kernels/attention_f16.h - attention of some query rows over keys and values in float16, as llama.cpp caches them.
//
//   s[r][p] = tree( lane[l] = fma over ascending i = l mod 16 of q[r][i] * k[p][i] ) + mask[r / group][p]
//   max[r]  = max over p of s[r][p]         w[r][p] = e^(s[r][p] - max[r]), by exp_f32.h
//   sum[r]  = sum over p of w[r][p], as in float_ops.h
//   out[r][j] = fma over ascending p of w[r][p] * v[p][j]
//
// The tree is that of gemm_f32.h. A row that may see no position has max -infinity, sum 0 and out 0. So a row's numbers do not depend
// on the others, and of long sequences not on how their blocks are shared out: join() puts them together in ascending order, and out / sum is
// the result.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu.h"

namespace dgq {

inline constexpr std::size_t kAttentionRows = 32;   // query rows of one call, at most
inline constexpr std::size_t kAttentionBlock = 64;  // positions of one call, at most
inline constexpr std::size_t kAttentionDims = 16;   // both dimensions are multiples of it

// What was found for some rows. out: [rows][value_dim]
struct AttentionState {
  float *max, *sum, *out;
};

struct AttentionBlock {
  std::size_t rows;                // 1..kAttentionRows
  std::size_t positions;           // 1..kAttentionBlock
  std::size_t key_dim, value_dim;  // positive multiples of kAttentionDims
  const float* q;                  // [rows][key_dim], already times the scale of the scores
  const std::uint16_t *k, *v;      // position p begins at k + p * k_stride, v + p * v_stride
  std::size_t k_stride, v_stride;  // float16 numbers
  const std::uint16_t*
      mask;  // one row for `group` rows of q, mask_stride numbers apart; null: nothing is added
  std::size_t mask_stride, group;
};

// All pure and thread-safe for disjoint outputs; pointers need no more alignment than their type.
struct AttentionF16 {
  void (*run)(const AttentionBlock& block, const AttentionState& state) noexcept;

  // a: of a and then b. For each row, with m the larger max: sum and out are a's * e^(a.max - m) + b's * e^(b.max - m).
  void (*join)(const AttentionState& a, const AttentionState& b, std::size_t rows,
               std::size_t value_dim) noexcept;

  // Floats for the cache, ties to even: out[i] = x[i]. n may be 0.
  void (*to_f16)(const float* x, std::size_t n, std::uint16_t* out) noexcept;
};

struct AttentionF16Kernel {
  const char* isa;
  Features needs;
  const AttentionF16* run;
};

}  // namespace dgq
