// kernels/gemm_q.h - int8 activations times dual-grained int4 (W4A8), int6 (W6A8) or coarse int8 (W8A8) weights.
//
//   acc[i][j][b] = sum_{k in block b} x.q[i][k] * w8[j][k]                  exact in int32, in any order
//   t = 0;  for b ascending: t = fma(x.scale[i][b], float(acc[i][j][b]), t)
//   y[i][j] = w.bias ? fma(w.s1[j], t, w.bias[j]) : w.s1[j] * t
//
// float() rounds to nearest even, fma is IEEE: every kernel returns the same bits as ref.
#pragma once

#include <cstddef>

#include "kernels/cpu.h"
#include "kernels/packed.h"
#include "kernels/quantize_rows.h"

namespace dgq {

// One call computes all m rows of x for the weight blocks [block_begin, block_end) of 16 output rows each, so
// threads split the blocks. y: [m][ldy] floats, ldy >= w.n; written, never read; only columns j < w.n.
// x.stride >= w.padded_k(); columns of x past w.k are 0. m may be 0. Pure: no allocation, no threads, no
// state. Thread-safe for disjoint y. The calling thread rounds to nearest and keeps denormals (the defaults).
template <class Matrix>
using Gemm = void(const Matrix& w, const QuantizedRows& x, std::size_t block_begin, std::size_t block_end,
                  float* y, std::size_t ldy) noexcept;
using GemmW4A8 = Gemm<W4Matrix>;
using GemmW6A8 = Gemm<W6Matrix>;
using GemmW8A8 = Gemm<W8Matrix>;

template <class Matrix>
struct GemmKernel {
  const char* isa;
  Features needs;
  Gemm<Matrix>* decode;      // made for x.m == 1, right for any m
  Gemm<Matrix>* prefill;     // made for large x.m, right for any m
  std::size_t prefill_rows;  // x.m from which prefill is the faster one
  Features made_for = 0;     // a CPU without these can run it, but should take a later row of the same name
};
using GemmW4A8Kernel = GemmKernel<W4Matrix>;
using GemmW6A8Kernel = GemmKernel<W6Matrix>;
using GemmW8A8Kernel = GemmKernel<W8Matrix>;

}  // namespace dgq
