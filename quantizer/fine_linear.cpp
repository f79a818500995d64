#include "quantizer/fine_linear.h"

#include "runtime/parallel.h"

namespace dgq {
namespace {

constexpr std::size_t kRows = 48;  // multiplied with H at a time, so that H is read once for all of them

// sum over rows of x H x^T; fill(row, to) writes row x.
template <class Fill>
double quadratic_form(const GemmF32Kernel& gemm, std::size_t rows, std::size_t k, std::span<const float> h,
                      int threads, const Fill& fill) {
  std::vector<double> of_row(rows);
  parallel_ranges(threads, (rows + kRows - 1) / kRows, [&](std::size_t begin, std::size_t end, int) {
    std::vector<float> x(kRows * k), product(kRows * k);
    for (std::size_t first = begin * kRows; first < std::min(end * kRows, rows); first += kRows) {
      const std::size_t m = std::min(kRows, rows - first);
      for (std::size_t r = 0; r < m; ++r) fill(first + r, x.data() + r * k);
      gemm.run({k, k, h.data(), nullptr}, x.data(), k, m, 0, k, product.data(), k);
      for (std::size_t r = 0; r < m; ++r)
        for (std::size_t i = r * k; i < (r + 1) * k; ++i)
          of_row[first + r] += static_cast<double>(x[i]) * product[i];
    }
  });
  double sum = 0;
  for (const double value : of_row) sum += value;
  return sum;
}

}  // namespace

float int8_unit(const float* w, std::size_t n) {
  constexpr float kTiny = 1e-30f;  // 1 / s1 has to be a float
  float largest = 0;
  for (std::size_t i = 0; i < n; ++i) largest = std::max(largest, std::fabs(w[i]));
  return largest > kTiny ? largest / kInt8Limit : 0;
}

double output_energy(const GemmF32Kernel& gemm, const F32Matrix& w, std::span<const float> h, int threads) {
  return quadratic_form(gemm, w.n, w.k, h, threads,
                        [&](std::size_t n, float* to) { std::copy_n(w.w + n * w.k, w.k, to); });
}

double output_loss(const GemmF32Kernel& gemm, const F32Matrix& w, std::span<const float> h,
                   const FineFormat& format, const FineLinear& linear, int threads) {
  const std::size_t groups = format.groups(w.k);
  return quadratic_form(gemm, w.n, w.k, h, threads, [&](std::size_t n, float* to) {
    for (std::size_t i = 0; i < w.k; ++i) {
      const std::size_t g = n * groups + i / format.group;
      const int w8 = linear.s2[g] * linear.q[n * w.k + i] + linear.o[g];
      to[i] = w.w[n * w.k + i] - linear.s1[n] * static_cast<float>(w8);
    }
  });
}

}  // namespace dgq
