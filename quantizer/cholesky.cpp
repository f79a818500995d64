#include "quantizer/cholesky.h"

#include <algorithm>
#include <cmath>

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

}  // namespace

bool factor_cholesky(std::vector<double>& matrix, std::size_t n, int threads) {
  double* a = matrix.data();
  std::vector<double> transposed(kBlock * n);  // [column of the panel][row]: the update runs along it
  for (std::size_t first = 0; first < n; first += kBlock) {
    const std::size_t last = std::min(first + kBlock, n), below = n - last;
    if (!factor_block(a, n, first, last)) return false;
    parallel_ranges(threads, below, [&](std::size_t begin, std::size_t end, int) {
      for (std::size_t i = last + begin; i < last + end; ++i) {
        solve_panel_row(a, n, first, last, i);
        for (std::size_t j = first; j < last; ++j) transposed[(j - first) * n + i] = a[i * n + j];
      }
    });
    // A short and a long row per step: every thread gets the same work.
    parallel_ranges(threads, (below + 1) / 2, [&](std::size_t begin, std::size_t end, int) {
      const auto update = [&](std::size_t i) {
        double* row = a + i * n;
        for (std::size_t p = first; p < last; ++p) {
          const double factor = row[p];
          const double* column = transposed.data() + (p - first) * n;
          for (std::size_t j = last; j <= i; ++j) row[j] -= factor * column[j];
        }
      };
      for (std::size_t t = begin; t < end; ++t) {
        update(last + t);
        if (n - 1 - t != last + t) update(n - 1 - t);
      }
    });
  }
  return true;
}

}  // namespace dgq
