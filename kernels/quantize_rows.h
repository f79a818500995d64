// kernels/quantize_rows.h - activations to int8, one float scale per row and block of columns.
//
//   scale[i][b] = max |x[i][k]|, k in b, / 127         q[i][k] = round_half_even(x[i][k] * (127 / max))
//   sums[i][s]  = sum of q[i][k] over 32 columns       (what the offsets o of a W4 group are multiplied with)
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

struct QuantizedRows {
  std::size_t m;             // rows
  std::size_t stride;        // columns per row including padding; a multiple of kActBlock
  std::size_t block;         // columns per scale: kActBlock, or stride for one scale per row
  const std::int8_t* q;      // [m][stride], -127..127, 64-byte aligned
  const float* scale;        // [m][stride / block], >= 0 (or NaN, see above)
  const std::int16_t* sums;  // [m][stride / kSumGroup], |sum| <= 127 * 32
};

// Where to put them; same shapes. All overwritten.
struct QuantizedRowsOut {
  std::int8_t* q;
  float* scale;
  std::int16_t* sums;
};

// x: [m][ldx] floats, k of each row used; any bits. block is kActBlock or round_up(k, kActBlock). Rows are
// independent: callers split m over threads. k > 0; m may be 0.
using QuantizeRows = void(const float* x, std::size_t ldx, std::size_t m, std::size_t k, std::size_t block,
                          const QuantizedRowsOut& out) noexcept;

struct QuantizeRowsKernel {
  const char* isa;
  Features needs;
  QuantizeRows* run;
};

}  // namespace dgq
