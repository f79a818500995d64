#include <cmath>

#include "kernels/ref/ref.h"

namespace dgq {

void gemm_f32_ref(const F32Matrix& w, const float* x, std::size_t ldx, std::size_t m, std::size_t row_begin,
                  std::size_t row_end, float* y, std::size_t ldy) noexcept {
  constexpr std::size_t kLanes = 16;
  for (std::size_t i = 0; i < m; ++i) {
    for (std::size_t j = row_begin; j < row_end; ++j) {
      float lane[kLanes] = {};
      for (std::size_t k = 0; k < w.k; ++k)
        lane[k % kLanes] = std::fma(x[i * ldx + k], w.w[j * w.k + k], lane[k % kLanes]);
      for (std::size_t width = kLanes / 2; width > 0; width /= 2)
        for (std::size_t l = 0; l < width; ++l) lane[l] += lane[l + width];
      y[i * ldy + j] = w.bias ? lane[0] + w.bias[j] : lane[0];
    }
  }
}

}  // namespace dgq
