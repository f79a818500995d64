#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/ref/ref.h"

namespace dgq {
namespace {

// Columns [0, columns) of one block; the rest of its q is padding. Returns the scale.
float quantize_block(const float* x, std::size_t columns, std::size_t block, std::int8_t* q) {
  float largest = 0;
  bool finite = true;
  for (std::size_t j = 0; j < columns; ++j) {
    largest = std::max(largest, std::fabs(x[j]));
    finite = finite && std::isfinite(x[j]);
  }
  const float inverse = 127.0f / largest;
  const bool usable = finite && std::isfinite(inverse);
  for (std::size_t j = 0; j < block; ++j)
    q[j] = usable && j < columns ? static_cast<std::int8_t>(std::nearbyint(x[j] * inverse)) : 0;
  if (!finite) return std::numeric_limits<float>::quiet_NaN();
  return usable ? largest / 127.0f : 0;
}

}  // namespace

void quantize_rows_ref(const float* x, std::size_t ldx, std::size_t m, std::size_t k, std::size_t block,
                       const QuantizedRowsOut& out) noexcept {
  const std::size_t stride = round_up(k, kActBlock);
  for (std::size_t i = 0; i < m; ++i) {
    std::int8_t* q = out.q + i * stride;
    for (std::size_t begin = 0; begin < stride; begin += block)
      out.scale[i * (stride / block) + begin / block] =
          quantize_block(x + i * ldx + begin, std::min(block, k - begin), block, q + begin);
    for (std::size_t s = 0; s < stride / kSumGroup; ++s) {
      int sum = 0;
      for (std::size_t j = s * kSumGroup; j < (s + 1) * kSumGroup; ++j) sum += q[j];
      out.sums[i * (stride / kSumGroup) + s] = static_cast<std::int16_t>(sum);
    }
  }
}

}  // namespace dgq
