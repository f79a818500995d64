#include "quantizer/cholesky.h"

#include <algorithm>
#include <cmath>

#include "quantizer/clones.h"
#include "runtime/parallel.h"

namespace dgq {
namespace {

constexpr std::size_t kBlock =
    64;  // columns eliminated at a time: the panel's rows (64 doubles each) stay in the cache

// Factors the diagonal block [first, last) in place; the columns before it are done.
bool factor_block(double* a, std::size_t n, std::size_t first, std::size_t last) {
  for (std::size_t j = first; j < last; ++j) {
    double pivot = a[j * n + j];
    for (std::size_t p = first; p < j; ++p) pivot -= a[j * n + p] * a[j * n + p];
    if (!(pivot > 0) || !std::isfinite(pivot)) return false;
    pivot = std::sqrt(pivot);
    a[j * n + j] = pivot;
    for (std::size_t i = j + 1; i < last; ++i) {
      double sum = a[i * n + j];
      for (std::size_t p = first; p < j; ++p) sum -= a[i * n + p] * a[j * n + p];
      a[i * n + j] = sum / pivot;
    }
  }
  return true;
}

// Row i of the panel below the block: its columns [first, last) of L.
void solve_panel_row(double* a, std::size_t n, std::size_t first, std::size_t last, std::size_t i) {
  for (std::size_t j = first; j < last; ++j) {
    double sum = a[i * n + j];
    for (std::size_t p = first; p < j; ++p) sum -= a[i * n + p] * a[j * n + p];
    a[i * n + j] = sum / a[j * n + j];
  }
}

// The panel below its diagonal block, transposed in tiles of some rows each: [tile][column][kWide].
constexpr std::size_t kWide = 32;

// Rows [begin, end) of the rest, columns of one tile: a[i][j] -= sum over the panel's columns p of L[i][p] * L[j][p].
DGQ_CLONES void subtract_products(double* a, std::size_t n, std::size_t first, std::size_t columns,
                                  const double* tile, std::size_t column, std::size_t begin,
                                  std::size_t end) {
  for (std::size_t i = begin; i < end; ++i) {
    const double* factor = a + i * n + first;
    double* row = a + i * n + column;
    const std::size_t width = std::min(kWide, i + 1 - column);
    double sum[kWide] = {};
    for (std::size_t j = 0; j < width; ++j) sum[j] = row[j];
    for (std::size_t p = 0; p < columns; ++p)
      for (std::size_t j = 0; j < kWide; ++j) sum[j] -= factor[p] * tile[p * kWide + j];
    for (std::size_t j = 0; j < width; ++j) row[j] = sum[j];
  }
}

}  // namespace

bool factor_cholesky(std::vector<double>& matrix, std::size_t n, int threads) {
  double* a = matrix.data();
  std::vector<double> panel(kBlock * (n + kWide));
  for (std::size_t first = 0; first < n; first += kBlock) {
    const std::size_t last = std::min(first + kBlock, n), below = n - last;
    if (!factor_block(a, n, first, last)) return false;
    const auto tile = [&](std::size_t t) { return panel.data() + t * kBlock * kWide; };
    parallel_ranges(threads, below, [&](std::size_t begin, std::size_t end, int) {
      for (std::size_t r = begin; r < end; ++r) {
        const std::size_t i = last + r;
        solve_panel_row(a, n, first, last, i);
        for (std::size_t p = first; p < last; ++p)
          tile(r / kWide)[(p - first) * kWide + r % kWide] = a[i * n + p];
      }
    });
    const std::size_t tiles = (below + kWide - 1) / kWide;
    const auto update = [&](std::size_t t) {
      const std::size_t begin = last + t * kWide, end = std::min(begin + kWide, n);
      for (std::size_t c = 0; c <= t; ++c)
        subtract_products(a, n, first, last - first, tile(c), last + c * kWide, begin, end);
    };
    // Short rows and long ones in turn: every thread gets the same work.
    parallel_ranges(threads, (tiles + 1) / 2, [&](std::size_t begin, std::size_t end, int) {
      for (std::size_t t = begin; t < end; ++t) {
        update(t);
        if (tiles - 1 - t != t) update(tiles - 1 - t);
      }
    });
  }
  return true;
}

}  // namespace dgq
