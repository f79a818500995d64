#include <algorithm>
#include <cmath>

#include "kernels/ref/ref.h"

namespace dgq {

void quantize_rows_ref(const float* x, std::size_t ldx, std::size_t m, std::size_t k, std::size_t block,
                       const QuantizedRowsOut& out) noexcept {
  const std::size_t stride = round_up(k, kActBlock);
  for (std::size_t i = 0; i < m; ++i) {
    std::int8_t* q = out.q + i * stride;
    for (std::size_t begin = 0; begin < stride; begin += block) {
      const std::size_t end = std::min(begin + block, k);
      float largest = 0;
      for (std::size_t j = begin; j < end; ++j) largest = std::max(largest, std::fabs(x[i * ldx + j]));
      const float inverse = largest > 0 ? 127.0f / largest : 0;
      for (std::size_t j = begin; j < begin + block; ++j)
        q[j] = j < end ? static_cast<std::int8_t>(std::nearbyint(x[i * ldx + j] * inverse)) : 0;
      out.scale[i * (stride / block) + begin / block] = largest / 127.0f;
    }
    for (std::size_t s = 0; s < stride / kSumGroup; ++s) {
      int sum = 0;
      for (std::size_t j = s * kSumGroup; j < (s + 1) * kSumGroup; ++j) sum += q[j];
      out.sums[i * (stride / kSumGroup) + s] = static_cast<std::int16_t>(sum);
    }
  }
}

}  // namespace dgq
