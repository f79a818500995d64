#include "quantizer/gram.h"

#include <algorithm>
#include <utility>

#include "runtime/parallel.h"

namespace dgq {
namespace {

constexpr std::size_t kTile =
    192;  // columns: a multiple of what kernels compute at a time; a product fits L2

}  // namespace

Gram::Gram(const Kernels& kernels, std::size_t k, int threads)
    : kernels_(kernels), k_(k), threads_(threads), x_(k * kBlock), sum_(k * k) {
  for (std::size_t first = 0; first < k; first += kTile)
    tiles_.push_back({.first = first, .count = std::min(kTile, k - first)});
}

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

void Gram::round(Tile& tile) {
  const QuantizedRowsOut to = tile.buffer.reserve(tile.count, filled_);
  kernels_.quantize_rows->run(x_.data() + tile.first * kBlock, kBlock, filled_, to, 0, tile.count);
  tile.x = view(to);
  std::vector<std::int8_t> plain(tile.count * to.stride);
  for (std::size_t i = 0; i < tile.count; ++i)
    for (std::size_t chunk = 0; chunk < to.stride / kActBlock; ++chunk)
      std::copy_n(tile.x.q_of(i, chunk), kActBlock, plain.data() + i * to.stride + chunk * kActBlock);
  std::byte* section = tile.packed.at_least(packed_w8_bytes(tile.count, to.stride, false));
  pack_w8({plain.data(), to.scale, nullptr}, tile.count, to.stride, section);
  tile.w = bind_w8(section, tile.count, to.stride, false);
}

// product: [rows.count][kTile]
void Gram::multiply(const Tile& rows, const Tile& columns, float* product) {
  run_gemm(*kernels_.gemm_w8a8, columns.w, rows.x, 0, columns.w.blocks(), product, kTile);
  for (std::size_t i = 0; i < rows.count; ++i) {
    float* sum = sum_.data() + (rows.first + i) * k_ + columns.first;
    for (std::size_t j = 0; j < columns.count; ++j) sum[j] += product[i * kTile + j];
  }
}

void Gram::flush() {
  parallel_ranges(threads_, tiles_.size(), [&](std::size_t begin, std::size_t end, int) {
    for (std::size_t t = begin; t < end; ++t) round(tiles_[t]);
  });
  std::vector<std::pair<std::size_t, std::size_t>> pairs;  // on and below the diagonal
  for (std::size_t i = 0; i < tiles_.size(); ++i)
    for (std::size_t j = 0; j <= i; ++j) pairs.emplace_back(i, j);
  parallel_ranges(threads_, pairs.size(), [&](std::size_t begin, std::size_t end, int) {
    AlignedBuffer<float> product;
    product.at_least(kTile * kTile);
    for (std::size_t p = begin; p < end; ++p)
      multiply(tiles_[pairs[p].first], tiles_[pairs[p].second], product.data());
  });
  filled_ = 0;
}

std::vector<float> Gram::finish() {
  if (filled_ > 0) flush();
  for (std::size_t i = 0; i < k_; ++i)
    for (std::size_t j = i + 1; j < k_; ++j) sum_[i * k_ + j] = sum_[j * k_ + i];
  return std::move(sum_);
}

}  // namespace dgq
