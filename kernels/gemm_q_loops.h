// kernels/gemm_q_loops.h - what the vector kernels of gemm_q.h share: the loops around the integer sums, and
// the floats after them. A kernel file brings the integers:
//
//   Dot::run(w, row_block, q, sums, begin, end, acc)
//       decode: acc[r] = sum over columns [begin, end) of q * w8[r]
//   Panel::load(w, row_block, begin, columns)
//       prefill: unpacks 16 rows x 128 columns of weights once ...
//   Panel::add<rows>(x, i, begin, acc)
//       ... and adds their sums with `rows` rows of x, from row i on, to acc
//
// Everything is in an unnamed namespace: each kernel file has its own copy, compiled with its own flags.
#pragma once

#include "kernels/gemm_q.h"

namespace dgq {
namespace {

constexpr std::size_t kPanelColumns = kActBlock;
constexpr std::size_t kPanelRows = 64;  // rows of x that share an unpacked panel; 8 KiB of sums on the stack
constexpr std::size_t kTileRows = 4;

DGQ_INLINE std::size_t smaller(std::size_t a, std::size_t b) { return a < b ? a : b; }

// Sums of 16 output rows for one row of x.
struct alignas(64) Acc {
  std::int32_t lane[kRowBlock];
};

// The float side of one row of x and 16 output rows.
struct alignas(64) Chain {
  float t[kRowBlock];

  DGQ_INLINE void clear() {
    for (float& value : t) value = 0;
  }

  DGQ_INLINE void add(float scale, const Acc& acc) {
    for (std::size_t r = 0; r < kRowBlock; ++r)
      t[r] = __builtin_fmaf(scale, static_cast<float>(acc.lane[r]), t[r]);
  }

  // y: the row of y.
  template <class Matrix>
  DGQ_INLINE void finish(const Matrix& w, std::size_t row_block, float* y) const {
    const std::size_t first = row_block * kRowBlock, rows = smaller(kRowBlock, w.n - first);
    for (std::size_t r = 0; r < rows; ++r)
      y[first + r] =
          w.bias ? __builtin_fmaf(w.s1[first + r], t[r], w.bias[first + r]) : w.s1[first + r] * t[r];
  }
};

template <class Dot, class Matrix>
void decode(const Matrix& w, const QuantizedRows& x, std::size_t block_begin, std::size_t block_end, float* y,
            std::size_t ldy) {
  const std::size_t columns = w.padded_k();
  for (std::size_t block = block_begin; block < block_end; ++block) {
    for (std::size_t i = 0; i < x.m; ++i) {
      const float* scale = x.scale + i * (x.stride / x.block);
      Chain chain;
      chain.clear();
      for (std::size_t begin = 0; begin < columns; begin += x.block) {
        Acc acc;
        Dot::run(w, block, x.q + i * x.stride, x.sums + i * (x.stride / kSumGroup), begin,
                 smaller(begin + x.block, columns), acc);
        chain.add(*scale++, acc);
      }
      chain.finish(w, block, y + i * ldy);
    }
  }
}

// Adds the panel's sums for `rows` rows of x from row i on, in tiles of 4 and one smaller tile.
template <class Panel>
void add_panel(const Panel& panel, const QuantizedRows& x, std::size_t i, std::size_t rows, std::size_t begin,
               Acc* acc) {
  std::size_t r = 0;
  for (; r + kTileRows <= rows; r += kTileRows) panel.template add<kTileRows>(x, i + r, begin, acc + r);
  switch (rows - r) {
    case 3:
      return panel.template add<3>(x, i + r, begin, acc + r);
    case 2:
      return panel.template add<2>(x, i + r, begin, acc + r);
    case 1:
      return panel.template add<1>(x, i + r, begin, acc + r);
    default:
      return;
  }
}

template <class Panel, class Matrix>
void prefill(const Matrix& w, const QuantizedRows& x, std::size_t block_begin, std::size_t block_end,
             float* y, std::size_t ldy) {
  const std::size_t columns = w.padded_k(), scales = x.stride / x.block;
  for (std::size_t block = block_begin; block < block_end; ++block) {
    for (std::size_t i = 0; i < x.m; i += kPanelRows) {
      const std::size_t rows = smaller(kPanelRows, x.m - i);
      Acc acc[kPanelRows];
      Chain chain[kPanelRows];
      for (std::size_t r = 0; r < rows; ++r) acc[r] = Acc{}, chain[r].clear();
      for (std::size_t begin = 0; begin < columns; begin += kPanelColumns) {
        Panel panel;
        panel.load(w, block, begin, smaller(kPanelColumns, columns - begin));
        add_panel(panel, x, i, rows, begin, acc);
        if (x.block != kPanelColumns && begin + kPanelColumns < columns)
          continue;  // one scale per row: sum on
        const float* scale = x.scale + i * scales + begin / x.block;
        for (std::size_t r = 0; r < rows; ++r) chain[r].add(scale[r * scales], acc[r]), acc[r] = Acc{};
      }
      for (std::size_t r = 0; r < rows; ++r) chain[r].finish(w, block, y + (i + r) * ldy);
    }
  }
}

}  // namespace
}  // namespace dgq
