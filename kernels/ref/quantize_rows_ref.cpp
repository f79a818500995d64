#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/ref/ref.h"

namespace dgq {
namespace {

// Columns [begin, begin + out.block) of a row x of k columns go to row i of out. inverse 0: as zeros.
void fill(const float* x, std::size_t k, std::size_t begin, float scale, float inverse,
          const QuantizedRowsOut& out, std::size_t i) {
  out.scale[begin / out.block * out.m + i] = scale;
  for (std::size_t j = begin; j < begin + out.block; ++j) {
    const std::size_t at = j / kActBlock * out.m + i, column = j % kActBlock;
    const bool used = j < k && inverse != 0;  // 0 times a NaN is not 0
    const float y = used ? std::clamp(x[j] * inverse, -127.0f, 127.0f) : 0;
    const int q = static_cast<int>(std::nearbyint(y));
    out.q[at * kActBlock + column] = static_cast<std::int8_t>(q);
    if (column == 0) out.sums[at] = {};
    out.sums[at].add(column, q);
  }
}

float scale_of(const float* x, std::size_t columns, float& inverse) {
  float largest = 0;
  bool finite = true;
  for (std::size_t j = 0; j < columns; ++j) {
    largest = std::max(largest, std::fabs(x[j]));
    finite = finite && std::isfinite(x[j]);
  }
  inverse = 127.0f / largest;
  if (finite && std::isfinite(inverse)) return largest / 127.0f;
  inverse = 0;
  return finite ? 0 : std::numeric_limits<float>::quiet_NaN();
}

}  // namespace

void quantize_rows_ref(const float* x, std::size_t ldx, std::size_t k, const QuantizedRowsOut& out,
                       std::size_t first, std::size_t rows) noexcept {
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t begin = 0; begin < out.stride; begin += out.block) {
      float inverse;
      const float scale = scale_of(x + i * ldx + begin, std::min(out.block, k - begin), inverse);
      fill(x + i * ldx, k, begin, scale, inverse, out, first + i);
    }
  }
}

void quantize_rows_given_ref(const float* x, std::size_t ldx, std::size_t k, const QuantizedRowsOut& out,
                             std::size_t first, std::size_t rows, float scale) noexcept {
  for (std::size_t i = 0; i < rows; ++i) {
    const float* row = x + i * ldx;
    if (std::all_of(row, row + k, [](float value) { return std::isfinite(value); })) {
      fill(row, k, 0, scale, 1 / scale, out, first + i);
    } else {
      fill(row, k, 0, std::numeric_limits<float>::quiet_NaN(), 0, out, first + i);
    }
  }
}

void quantize_rows_twice_ref(const float* x, std::size_t ldx, std::size_t k, const QuantizedRowsOut& out,
                             std::size_t first, std::size_t rows, std::size_t apart) noexcept {
  quantize_rows_ref(x, ldx, k, out, first, rows);
  std::vector<float> rest(k);
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t j = 0; j < k; ++j) {
      const std::size_t at = j / kActBlock * out.m + first + i;
      rest[j] = x[i * ldx + j] - static_cast<float>(out.q[at * kActBlock + j % kActBlock]) * out.scale[at];
    }
    quantize_rows_ref(rest.data(), k, k, out, first + i + apart, 1);
  }
}

}  // namespace dgq
