#include "quantizer/gram.h"

#include <algorithm>
#include <utility>

#include "runtime/parallel.h"

namespace dgq {
namespace {

constexpr std::size_t kTile =
    64;  // columns of the result per task; a tile's operands (2 * 64 * 512 floats) fit L2

}  // namespace

void Gram::add(const float* x, std::size_t m) {
  while (m > 0) {
    const std::size_t rows = std::min(m, kBlock - filled_);
    parallel_ranges(threads_, k_, [&](std::size_t begin, std::size_t end, int) {
      for (std::size_t c = begin; c < end; ++c)
        for (std::size_t r = 0; r < rows; ++r) x_[c * kBlock + filled_ + r] = x[r * k_ + c];
    });
    filled_ += rows;
    if (filled_ == kBlock) flush();
    x += rows * k_;
    m -= rows;
  }
}

void Gram::flush() {
  std::vector<std::pair<std::size_t, std::size_t>> tiles;  // first row and column, on and below the diagonal
  for (std::size_t i = 0; i < k_; i += kTile)
    for (std::size_t j = 0; j <= i; j += kTile) tiles.emplace_back(i, j);
  parallel_ranges(threads_, tiles.size(), [&](std::size_t begin, std::size_t end, int) {
    std::vector<float> product(kTile * kTile);
    for (std::size_t t = begin; t < end; ++t) {
      const auto [i0, j0] = tiles[t];
      const std::size_t m = std::min(kTile, k_ - i0), n = std::min(kTile, k_ - j0);
      gemm_->run({n, kBlock, x_.data() + j0 * kBlock, nullptr}, x_.data() + i0 * kBlock, kBlock, m, 0, n,
                 product.data(), kTile);
      for (std::size_t i = 0; i < m; ++i)
        for (std::size_t j = 0; j < n; ++j) sum_[(i0 + i) * k_ + j0 + j] += product[i * kTile + j];
    }
  });
  filled_ = 0;
  std::fill(x_.begin(), x_.end(), 0.0f);
}

std::vector<float> Gram::finish() {
  if (filled_ > 0) flush();
  for (std::size_t i = 0; i < k_; ++i)
    for (std::size_t j = i + 1; j < k_; ++j) sum_[i * k_ + j] = sum_[j * k_ + i];
  return std::move(sum_);
}

}  // namespace dgq
