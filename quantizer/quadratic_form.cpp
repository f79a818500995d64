#include "quantizer/quadratic_form.h"

#include <algorithm>
#include <vector>

#include "runtime/parallel.h"

namespace dgq {
namespace {

constexpr std::size_t kRows = 48;   // multiplied with a slice of H at a time
constexpr std::size_t kSlice = 64;  // rows of H

// x H x^T of some rows. With H cut into slices of rows, each up to its diagonal block:
//   x H x^T = sum over slices S of x_S (2 H[S][before S] x_before + H[S][S] x_S)
class Form {
 public:
  Form(const GemmF32Kernel& gemm, std::size_t k, const float* h)
      : gemm_(gemm), k_(k), h_(h), x_(kRows * k), slice_(kSlice * k), product_(kRows * kSlice) {}

  float* row(std::size_t r) { return x_.data() + r * k_; }

  // sums: [m], added to.
  void add(std::size_t m, double* sums) {
    if (!h_) {
      for (std::size_t i = 0; i < m * k_; ++i) sums[i / k_] += static_cast<double>(x_[i]) * x_[i];
      return;
    }
    for (std::size_t begin = 0; begin < k_; begin += kSlice) {
      const std::size_t end = std::min(begin + kSlice, k_), n = end - begin;
      for (std::size_t i = 0; i < n; ++i) {
        const float* from = h_ + (begin + i) * k_;
        float* to = slice_.data() + i * end;
        for (std::size_t j = 0; j < begin; ++j) to[j] = 2 * from[j];
        std::copy(from + begin, from + end, to + begin);
      }
      gemm_.run({n, end, slice_.data(), nullptr}, x_.data(), k_, m, 0, n, product_.data(), kSlice);
      for (std::size_t r = 0; r < m; ++r)
        for (std::size_t i = 0; i < n; ++i)
          sums[r] += static_cast<double>(x_[r * k_ + begin + i]) * product_[r * kSlice + i];
    }
  }

 private:
  const GemmF32Kernel& gemm_;
  std::size_t k_;
  const float* h_;                          // null: the identity
  std::vector<float> x_, slice_, product_;  // [kRows][k]; [n][end of the slice]; [kRows][kSlice]
};

}  // namespace

double quadratic_form(const GemmF32Kernel& gemm, std::size_t rows, std::size_t k, std::span<const float> h,
                      int threads, const std::function<void(std::size_t row, float* to)>& fill) {
  const std::size_t judged = std::min(rows, kJudgedRows);
  std::vector<double> of_row(judged);
  parallel_ranges(threads, (judged + kRows - 1) / kRows, [&](std::size_t begin, std::size_t end, int) {
    Form form(gemm, k, h.empty() ? nullptr : h.data());
    for (std::size_t first = begin * kRows; first < std::min(end * kRows, judged); first += kRows) {
      const std::size_t m = std::min(kRows, judged - first);
      for (std::size_t r = 0; r < m; ++r) fill((first + r) * rows / judged, form.row(r));
      form.add(m, of_row.data() + first);
    }
  });
  double sum = 0;
  for (const double value : of_row) sum += value;
  return judged > 0 ? sum * (static_cast<double>(rows) / static_cast<double>(judged)) : 0;
}

}  // namespace dgq
