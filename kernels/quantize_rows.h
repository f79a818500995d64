// kernels/quantize_rows.h - activations to int8, one float scale per row and block of columns.
//
//   scale[i][b] = max |x[i][k]|, k in b, / 127         q[i][k] = round_half_even(x[i][k] * (127 / max))
//   sums[i][c]  = sums of q[i][k] over parts of a chunk of 128 columns, see ChunkSums
//
// A block whose 127 / max is not finite (all zero, or max under 3.8e-37) counts as all zero: scale 0 and q 0.
// A block that holds a NaN or an infinity has q 0 and the scale NaN (0x7fc00000): what is computed from it is
// visibly wrong, not plausible. Padding columns are 0. One set of quantized rows serves every linear that
// reads the same input (q, k, v; gate, up).
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu.h"
#include "kernels/packed.h"

namespace dgq {

inline constexpr std::size_t kActBlock = 128;  // columns per scale; every row is padded to a multiple of it
inline constexpr std::size_t kSumGroup = 32;   // columns per sum; divides every weight group size

// The rows of one chunk of 128 columns stand side by side, 128 bytes each, whatever the number of columns: a tile of rows
// is a dense piece of memory, where rows as far apart as a power of two would compete for the same cache lines.
inline constexpr std::size_t kSumsPerChunk = kActBlock / kSumGroup;

// What weights of the form s2 * q + o, or with 128 added, leave over for each row of x: o times the sum of x over the
// group, -128 times that over the chunk. Everything in a form that is one load in some kernel.
struct ChunkSums {
  std::int16_t of32[kSumsPerChunk];      // over 32 columns each, |sum| <= 127 * 32
  std::int16_t of64[kSumsPerChunk / 2];  // over 64 columns each
  std::int32_t minus_128;                // -128 times the sum over all 128

  bool operator==(const ChunkSums&) const = default;

  // One more q, at `column` of the chunk.
  DGQ_INLINE void add(std::size_t column, int q) {
    of32[column / 32] = static_cast<std::int16_t>(of32[column / 32] + q);
    of64[column / 64] = static_cast<std::int16_t>(of64[column / 64] + q);
    minus_128 -= 128 * q;
  }

  // Over the group of 32, 64 or 128 columns that begins at `column` of the chunk.
  DGQ_INLINE std::int16_t of_group(std::size_t column, std::size_t group) const {
    if (group == 32) return of32[column / 32];
    if (group == 64) return of64[column / 64];
    return static_cast<std::int16_t>(of64[0] + of64[1]);
  }
};

struct QuantizedRows {
  std::size_t m;          // rows
  std::size_t stride;     // columns per row including padding; a multiple of kActBlock
  std::size_t block;      // columns per scale: kActBlock, or stride for one scale per row
  const std::int8_t* q;   // [stride / kActBlock][m][kActBlock], -127..127, 64-byte aligned
  const float* scale;     // [stride / block][m], >= 0 (or NaN, see above)
  const ChunkSums* sums;  // [stride / kActBlock][m]

  // Of row i: its columns in a chunk of 128, their sums, the scale of a block.
  DGQ_INLINE const std::int8_t* q_of(std::size_t i, std::size_t chunk) const {
    return q + (chunk * m + i) * kActBlock;
  }
  DGQ_INLINE const ChunkSums& sums_of(std::size_t i, std::size_t chunk) const { return sums[chunk * m + i]; }
  DGQ_INLINE float scale_of(std::size_t i, std::size_t b) const { return scale[b * m + i]; }
};

// Where to put them; same shapes.
struct QuantizedRowsOut {
  std::size_t m, stride, block;
  std::int8_t* q;
  float* scale;
  ChunkSums* sums;
};

// Quantizes `rows` rows of x to the rows [first, first + rows) of out, and writes all of these: callers split the rows
// over threads. x: [rows][ldx] floats, k of each used, 0 < k <= out.stride; any bits. rows may be 0.
using QuantizeRows = void(const float* x, std::size_t ldx, std::size_t k, const QuantizedRowsOut& out,
                          std::size_t first, std::size_t rows) noexcept;

// To 16 bits, as two rows of int8: what `run` does, and in the rows `apart` further on the same with what that left
// over, x[k] - float(q[k]) * scale. Precondition: out.block == kActBlock.
using QuantizeRowsTwice = void(const float* x, std::size_t ldx, std::size_t k, const QuantizedRowsOut& out,
                               std::size_t first, std::size_t rows, std::size_t apart) noexcept;

// With one scale for all rows that is given instead of found: scale[i][0] = scale, and
//   q[i][k] = round_half_even(x[i][k] * (1 / scale)), but at least -127 and at most 127
// A row that holds a NaN or an infinity is marked as above. Preconditions: out.block == out.stride; scale is positive, and
// 1 / scale is finite.
using QuantizeRowsGiven = void(const float* x, std::size_t ldx, std::size_t k, const QuantizedRowsOut& out,
                               std::size_t first, std::size_t rows, float scale) noexcept;

struct QuantizeRowsKernel {
  const char* isa;
  Features needs;
  QuantizeRows* run;
  QuantizeRowsTwice* twice;
  QuantizeRowsGiven* given;
};

}  // namespace dgq
