#include "quantizer/gram.h"

#include <algorithm>

namespace dgq {
namespace {

constexpr std::size_t kTile = 64;  // columns of H per task; a tile's operands (2 * 64 * 512 floats) fit L2

}  // namespace

Gram::Gram(const GemmF32Kernel& gemm, std::size_t k, int threads)
    : gemm_(&gemm), k_(k), threads_(threads), columns_(k * kBlock), h_(k * k) {}

void Gram::add(const float* x, std::size_t m) {
  while (m > 0) {
    const std::size_t rows = std::min(m, kBlock - filled_);
#pragma omp parallel for num_threads(threads_)
    for (std::size_t c = 0; c < k_; ++c)
      for (std::size_t r = 0; r < rows; ++r) columns_[c * kBlock + filled_ + r] = x[r * k_ + c];
    filled_ += rows;
    if (filled_ == kBlock) flush();
    x += rows * k_;
    m -= rows;
  }
}

void Gram::flush() {
  const std::size_t tiles = (k_ + kTile - 1) / kTile;
#pragma omp parallel num_threads(threads_)
  {
    std::vector<float> product(kTile * kTile);
#pragma omp for collapse(2) schedule(dynamic)
    for (std::size_t row = 0; row < tiles; ++row) {
      for (std::size_t column = 0; column < tiles; ++column) {
        if (column > row) continue;
        const std::size_t i0 = row * kTile, m = std::min(kTile, k_ - i0);
        const std::size_t j0 = column * kTile, n = std::min(kTile, k_ - j0);
        const F32Matrix right{n, kBlock, columns_.data() + j0 * kBlock, nullptr};
        gemm_->run(right, columns_.data() + i0 * kBlock, kBlock, m, 0, n, product.data(), kTile);
        for (std::size_t i = 0; i < m; ++i)
          for (std::size_t j = 0; j < n; ++j) h_[(i0 + i) * k_ + j0 + j] += product[i * kTile + j];
      }
    }
  }
  filled_ = 0;
  std::fill(columns_.begin(), columns_.end(), 0.0f);
}

std::vector<float> Gram::finish() {
  if (filled_ > 0) flush();
  for (std::size_t i = 0; i < k_; ++i)
    for (std::size_t j = i + 1; j < k_; ++j) h_[i * k_ + j] = h_[j * k_ + i];
  return std::move(h_);
}

}  // namespace dgq
