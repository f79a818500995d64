// kernels/x86/dot_amx_int8.h - tdpbssd: 16 rows of x times 16 output rows over 64 columns in one instruction.
//
//   tile of x        16 rows of 64 bytes, 128 bytes apart: a chunk of QuantizedRows as it lies
//   tile of weights  64 columns of 16 output rows in the order n16k4: what a W8 matrix holds, or an expanded panel
//
// Both are signed, so there is nothing to correct. 2 x 2 tiles of sums use each loaded tile twice.
#pragma once

#include "kernels/x86/vector_avx512.h"

#if !defined(__AMX_INT8__) && !defined(__AMXINT8__)  // the second is how clang 14 says it
#error "build this file with -mamx-tile -mamx-int8"
#endif

namespace dgq {
namespace {

constexpr std::size_t kTileColumns = 64, kTileBytes = 1024, kTileRowsOfX = 16;

// All eight tile registers as 16 rows of 64 bytes, until the end of the scope.
class Tiles {
 public:
  Tiles() {
    struct alignas(64) Config {
      std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
      std::uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } const config;
    __asm__ volatile(""
                     :
                     : "m"(config));  // gcc 12's _tile_loadconfig names 8 bytes of it, and may drop the rest
    _tile_loadconfig(&config);
  }
  ~Tiles() { _tile_release(); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
};

// Sums of up to 32 rows of x and 16 or 32 output rows over a chunk.
struct Sums {
  alignas(64) std::int32_t lane[2][2][kTileRowsOfX][kRowBlock];  // [half of the rows][block]
};

// Weights of kBlocks * 16 output rows as int8.
template <std::size_t kBlockCount>
class Panel {
 public:
  static constexpr std::size_t kBlocks = kBlockCount;

  template <class Matrix>
  void load(const Matrix& w, std::size_t row_block, std::size_t chunk, std::size_t columns) {
    for (std::size_t b = 0; b < kBlocks; ++b) {
      expand(w, row_block + b, chunk, columns, 0, q_[b]);
      for (std::size_t at = columns * kRowBlock; at < sizeof q_[b]; at += kStepBytes)
        store512(q_[b] + at, _mm512_setzero_si512());
    }
  }

  template <class Into>
  DGQ_INLINE void add_rows(const QuantizedRows& x, std::size_t first, std::size_t rows, std::size_t chunk,
                           State* state) const {
    for (std::size_t r = 0; r < rows; r += kRowsAtOnce)
      add<Into>(x, first + r, smaller(kRowsAtOnce, rows - r), chunk, state + r * kBlocks);
  }

 private:
  static constexpr std::size_t kRowsAtOnce = 2 * kTileRowsOfX;

  // (Starting the next rows' products before these sums are taken up won nothing.)
  template <class Into>
  DGQ_INLINE void add(const QuantizedRows& x, std::size_t i, std::size_t rows, std::size_t chunk,
                      State* state) const {
    const std::int8_t* q = x.q_of(i, chunk);
    alignas(64) std::int8_t spare[kRowsAtOnce * kActBlock];
    if (rows < kRowsAtOnce) {  // a tile reads 16 rows: where x ends before, the others are zeros
      for (std::size_t at = 0; at < sizeof spare; at += 64)
        store512(spare + at, at < rows * kActBlock ? load512(q + at) : _mm512_setzero_si512());
      q = spare;
    }
    Sums sums;
    if (rows > kTileRowsOfX)
      multiply<2>(q, sums);
    else
      multiply<1>(q, sums);
    for (std::size_t r = 0; r < rows; ++r)
      for (std::size_t b = 0; b < kBlocks; ++b)
        add_sums<Into>(state[r * kBlocks + b], load512(sums.lane[r / kTileRowsOfX][b][r % kTileRowsOfX]), x,
                       i + r, chunk);
  }

  // Tile registers: 0..3 sums [half][block], 4 and 5 x, 6 and 7 weights.
  template <std::size_t kHalves>
  DGQ_INLINE void multiply(const std::int8_t* x, Sums& sums) const {
    constexpr std::size_t kLower = kTileRowsOfX * kActBlock;
    _tile_zero(0);
    if constexpr (kBlocks == 2) _tile_zero(1);
    if constexpr (kHalves == 2) _tile_zero(2);
    if constexpr (kHalves == 2 && kBlocks == 2) _tile_zero(3);
    for (std::size_t k = 0; k < kActBlock; k += kTileColumns) {
      _tile_loadd(6, q_[0] + k * kRowBlock, 64);
      _tile_loadd(4, x + k, kActBlock);
      _tile_dpbssd(0, 4, 6);
      if constexpr (kBlocks == 2) {
        _tile_loadd(7, q_[kBlocks - 1] + k * kRowBlock, 64);
        _tile_dpbssd(1, 4, 7);
      }
      if constexpr (kHalves == 2) {
        _tile_loadd(5, x + kLower + k, kActBlock);
        _tile_dpbssd(2, 5, 6);
        if constexpr (kBlocks == 2) _tile_dpbssd(3, 5, 7);
      }
    }
    _tile_stored(0, sums.lane[0][0], 64);
    if constexpr (kBlocks == 2) _tile_stored(1, sums.lane[0][1], 64);
    if constexpr (kHalves == 2) _tile_stored(2, sums.lane[1][0], 64);
    if constexpr (kHalves == 2 && kBlocks == 2) _tile_stored(3, sums.lane[1][1], 64);
  }

  alignas(64) std::int8_t q_[kBlocks][kActBlock * kRowBlock];
};

}  // namespace
}  // namespace dgq
