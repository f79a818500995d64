// kernels/gemm_q_loops.h - what the vector kernels of gemm_q.h share: the loops around the integer sums, and
// the floats after them. Columns go in chunks of 128, the activation block. A kernel file brings the integers:
//
//   Fold::kTileRows                          few rows of x: straight from the packed weights
//   Fold::add<rows>(w, row_block, x, i, chunk, columns, acc)
//       acc[r] += the chunk's sums of row i + r of x with 16 output rows, for r < rows <= kTileRows
//
//   Panel::kTileRows, kBlocks                many rows of x: unpacks 16 * kBlocks output rows once per chunk ...
//   Panel::load(w, row_block, chunk, columns)
//   Panel::add<rows, Into>(x, i, chunk, state)
//       ... and adds their sums with rows i .. i + rows of x to state[r * kBlocks + block], by Into::add below or as
//       that does; or, instead, Panel::add_rows<Into>(x, i, rows, chunk, state) for any number of rows at once
//
// kTileRows are powers of two times 1 or 3: what is left of a panel's tile goes in tiles of powers of two.
// Everything is in an unnamed namespace: each kernel file has its own copy, compiled with its own flags.
#pragma once

#include "kernels/gemm_q.h"
#include "kernels/gemm_q_lanes.h"

namespace dgq {
namespace {

// Rows of x that share an unpacked panel. 128 rows of a chunk, their states (64 bytes each and block, on the stack) and
// the panel stay in L1 together.
constexpr std::size_t kPanelRows = 128;

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
    for (std::size_t r = 0; r < kRowBlock; r += Lanes::kWidth)
      Lanes::store(t + r, Lanes::fma(Lanes::all(scale), Lanes::from(acc.lane + r), Lanes::load(t + r)));
  }

  // y: the row of y.
  template <class Matrix>
  DGQ_INLINE void finish(const Matrix& w, std::size_t row_block, float* y) const {
    const std::size_t first = row_block * kRowBlock, rows = smaller(kRowBlock, w.n - first);
    float spare[kRowBlock];
    float* to = rows == kRowBlock ? y + first : spare;
    for (std::size_t r = 0; r < kRowBlock; r += Lanes::kWidth) {
      const auto s1 = Lanes::load(w.s1 + first + r), sum = Lanes::load(t + r);
      Lanes::store(to + r,
                   w.bias ? Lanes::fma(s1, sum, Lanes::load(w.bias + first + r)) : Lanes::mul(s1, sum));
    }
    if (rows < kRowBlock)
      for (std::size_t r = 0; r < rows; ++r) y[first + r] = spare[r];
  }
};

// The q of 16 output rows from some column on, step after step of 8 columns.
template <int kBits>
struct Steps;
template <>
struct Steps<4> {
  const std::uint8_t* low;
  DGQ_INLINE Steps operator+(std::size_t steps) const { return {low + steps * kLowStepBytes}; }
};
template <>
struct Steps<6> {
  const std::uint8_t *low, *high;
  DGQ_INLINE Steps operator+(std::size_t steps) const {
    return {low + steps * kLowStepBytes, high + steps * W6Matrix::kHighStepBytes};
  }
};
DGQ_INLINE Steps<4> first_step(const W4Matrix& w) { return {w.q}; }
DGQ_INLINE Steps<6> first_step(const W6Matrix& w) { return {w.q, w.q_high}; }

// What belongs to one chunk of 128 columns of a block of 16 output rows. s2 and o: 16 bytes for each of its groups.
template <int kBits>
struct Packed {
  Steps<kBits> q;
  const std::uint8_t* s2;
  const std::int8_t* o;
  DGQ_INLINE Packed(const FineMatrix<kBits>& w, std::size_t row_block, std::size_t chunk) {
    const std::size_t begin = row_block * w.padded_k() + chunk * kActBlock;
    q = first_step(w) + begin / 8;
    s2 = w.s2 + begin / w.group * kRowBlock;
    o = w.o + begin / w.group * kRowBlock;
  }
};

DGQ_INLINE const std::int8_t* packed_chunk(const W8Matrix& w, std::size_t row_block, std::size_t chunk) {
  return w.q + (row_block * w.stride + chunk * kActBlock) * kRowBlock;
}

// Calls body.run<rows>(i) for tiles of kTile rows that make up [0, m), then for what is left in powers of two.
template <std::size_t kTile, class Body>
DGQ_INLINE void for_each_tile(std::size_t m, const Body& body) {
  static_assert(kTile <= 16);
  std::size_t i = 0;
  for (; i + kTile <= m; i += kTile) body.template run<kTile>(i);
  if constexpr (kTile > 8)
    if (i + 8 <= m) body.template run<8>(i), i += 8;
  if constexpr (kTile > 4)
    if (i + 4 <= m) body.template run<4>(i), i += 4;
  if constexpr (kTile > 2)
    if (i + 2 <= m) body.template run<2>(i), i += 2;
  if constexpr (kTile > 1)
    if (i < m) body.template run<1>(i);
}

template <class Fold, class Matrix>
struct FoldTile {
  const Matrix& w;
  const QuantizedRows& x;
  std::size_t block;
  float* y;
  std::size_t ldy;

  template <std::size_t kRows>
  DGQ_INLINE void run(std::size_t i) const {
    const std::size_t columns = w.padded_k();
    Acc acc[kRows] = {};
    Chain chain[kRows] = {};
    for (std::size_t begin = 0, b = 0; begin < columns; begin += kActBlock) {
      Fold::template add<kRows>(w, block, x, i, begin / kActBlock, smaller(kActBlock, columns - begin), acc);
      if (x.block != kActBlock && begin + kActBlock < columns) continue;  // one scale per row: sum on
      for (std::size_t r = 0; r < kRows; ++r) {
        chain[r].add(x.scale_of(i + r, b), acc[r]);
        acc[r] = Acc{};
      }
      ++b;
    }
    for (std::size_t r = 0; r < kRows; ++r) chain[r].finish(w, block, y + (i + r) * ldy);
  }
};

// Rows [i, i + rows) as one tile, rows <= kMost: each tile unpacks the weights again.
template <std::size_t kMost, class Body>
DGQ_INLINE void run_one_tile(std::size_t i, std::size_t rows, const Body& body) {
  if constexpr (kMost > 0) {
    if (rows == kMost) return body.template run<kMost>(i);
    run_one_tile<kMost - 1>(i, rows, body);
  }
}

template <class Fold, class Matrix>
void decode(const Matrix& w, const QuantizedRows& x, std::size_t block_begin, std::size_t block_end, float* y,
            std::size_t ldy) {
  for (std::size_t block = block_begin; block < block_end; ++block)
    for (std::size_t i = 0; i < x.m; i += Fold::kTileRows)
      run_one_tile<Fold::kTileRows>(i, smaller(Fold::kTileRows, x.m - i),
                                    FoldTile<Fold, Matrix>{w, x, block, y, ldy});
}

// Of one row of x and 16 output rows, while the chunks go by: with a scale per chunk the float chain, with one
// per row the integer sum.
union State {
  Acc acc;
  Chain chain;
};

// What a chunk's sums do to the state.
struct IntoChain {
  static constexpr bool kChain = true;
  DGQ_INLINE static void add(State& state, const Acc& sums, const QuantizedRows& x, std::size_t i,
                             std::size_t chunk) {
    state.chain.add(x.scale_of(i, chunk), sums);
  }
};
struct IntoSum {
  static constexpr bool kChain = false;
  DGQ_INLINE static void add(State& state, const Acc& sums, const QuantizedRows&, std::size_t, std::size_t) {
    for (std::size_t r = 0; r < kRowBlock; ++r) state.acc.lane[r] += sums.lane[r];
  }
};

template <class Panel, class Into>
struct PanelTile {
  const Panel& panel;
  const QuantizedRows& x;
  std::size_t first, chunk;
  State* state;

  template <std::size_t kRows>
  DGQ_INLINE void run(std::size_t i) const {
    panel.template add<kRows, Into>(x, first + i, chunk, state + i * Panel::kBlocks);
  }
};

// What one panel has summed up, rows x kBlocks states, on its way to y while the next panel multiplies: the lines of y lie a
// row apart, and all at once they would wait for memory and push each other out of the cache (docs/KERNELS.md).
template <class Into, class Matrix>
class Outputs {
 public:
  Outputs(const Matrix& w, const QuantizedRows& x, float* y, std::size_t ldy)
      : w_(w), x_(x), y_(y), ldy_(ldy) {}

  // Rows [first, first + rows) of x, `blocks` blocks of output rows from `block` on; borrowed until written, `share` rows
  // at a time.
  DGQ_INLINE void take(const State* state, std::size_t first, std::size_t rows, std::size_t block,
                       std::size_t blocks, std::size_t share) {
    state_ = state, row_ = first, end_ = first + rows, block_ = block, blocks_ = blocks;
    ask(first, share);
  }

  DGQ_INLINE void write(std::size_t rows) {
    const std::size_t end = smaller(end_, row_ + rows);
    ask(end, rows);  // the next ones to be written
    for (; row_ < end; ++row_)
      for (std::size_t b = 0; b < blocks_; ++b, ++state_) {
        Chain chain = state_->chain;
        if constexpr (!Into::kChain) {
          chain.clear();
          chain.add(x_.scale_of(row_, 0), state_->acc);
        }
        chain.finish(w_, block_ + b, y_ + row_ * ldy_);
      }
  }
  DGQ_INLINE void write_all() { write(end_ - row_); }

 private:
  DGQ_INLINE void ask(std::size_t row, std::size_t rows) const {
    for (const std::size_t end = smaller(end_, row + rows); row < end; ++row)
      for (std::size_t b = 0; b < blocks_; ++b)
        __builtin_prefetch(y_ + row * ldy_ + (block_ + b) * kRowBlock, 1);
  }

  const Matrix& w_;
  const QuantizedRows& x_;
  float* y_;
  std::size_t ldy_;
  const State* state_ = nullptr;
  std::size_t row_ = 0, end_ = 0, block_ = 0, blocks_ = 0;
};

// Rows [first, first + rows) of x, at most kPanelRows. state: rows * kBlocks; before: of the panel before, is written.
template <class Panel, class Into, class Matrix>
void prefill_panel(const Matrix& w, const QuantizedRows& x, std::size_t first, std::size_t rows,
                   std::size_t block, State* state, Outputs<Into, Matrix>& before) {
  const std::size_t columns = w.padded_k(), chunks = (columns + kActBlock - 1) / kActBlock;
  const std::size_t share = (rows + chunks - 1) / chunks;
  for (std::size_t s = 0; s < rows * Panel::kBlocks; ++s)
    state[s].chain.clear();  // all bits 0: the sums as well
  for (std::size_t chunk = 0; chunk < chunks; ++chunk) {
    Panel panel;
    panel.load(w, block, chunk, smaller(kActBlock, columns - chunk * kActBlock));
    before.write(share);
    if constexpr (requires { panel.template add_rows<Into>(x, first, rows, chunk, state); })
      panel.template add_rows<Into>(x, first, rows, chunk, state);
    else
      for_each_tile<Panel::kTileRows>(rows, PanelTile<Panel, Into>{panel, x, first, chunk, state});
  }
  before.write_all();
  before.take(state, first, rows, block, Panel::kBlocks, share);
}

// All that a panel's blocks fit into of the blocks from `block` on. state: two, in turns.
template <class Panel, class Into, std::size_t kStates, class Matrix>
DGQ_INLINE void prefill_whole_panels(const Matrix& w, const QuantizedRows& x, std::size_t first,
                                     std::size_t rows, std::size_t& block, std::size_t block_end,
                                     State (&state)[2][kStates], std::size_t& turn,
                                     Outputs<Into, Matrix>& outputs) {
  for (; block + Panel::kBlocks <= block_end; block += Panel::kBlocks, turn ^= 1)
    prefill_panel<Panel, Into>(w, x, first, rows, block, state[turn], outputs);
}

constexpr std::size_t largest(std::size_t a, std::size_t b = 0, std::size_t c = 0) {
  return a > b ? (a > c ? a : c) : (b > c ? b : c);
}

template <class Into, class... Panels, class Matrix>
void prefill_rows(const Matrix& w, const QuantizedRows& x, std::size_t block_begin, std::size_t block_end,
                  float* y, std::size_t ldy) {
  State state[2][kPanelRows * largest(Panels::kBlocks...)];
  Outputs<Into, Matrix> outputs(w, x, y, ldy);
  std::size_t turn = 0;
  for (std::size_t first = 0; first < x.m; first += kPanelRows) {  // outermost: these rows of x stay in L2
    const std::size_t rows = smaller(kPanelRows, x.m - first);
    std::size_t block = block_begin;
    (prefill_whole_panels<Panels, Into>(w, x, first, rows, block, block_end, state, turn, outputs), ...);
  }
  outputs.write_all();
}

// Panels: the one for most blocks first, then smaller ones for what is left, the last of one block.
template <class... Panels, class Matrix>
void prefill(const Matrix& w, const QuantizedRows& x, std::size_t block_begin, std::size_t block_end,
             float* y, std::size_t ldy) {
  if (x.block == kActBlock)
    prefill_rows<IntoChain, Panels...>(w, x, block_begin, block_end, y, ldy);
  else
    prefill_rows<IntoSum, Panels...>(w, x, block_begin, block_end, y, ldy);
}

}  // namespace
}  // namespace dgq
