#include "quantizer/fine_linear.h"

#include "quantizer/quadratic_form.h"
#include "runtime/parallel.h"

namespace dgq {

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

double clipped_share(const F32Matrix& w, const FineFormat& format, const FineLinear& linear, int threads) {
  const std::size_t groups = format.groups(w.k);
  std::vector<std::size_t> of_row(w.n);
  parallel_ranges(threads, w.n, [&](std::size_t begin, std::size_t end, int) {
    for (std::size_t n = begin; n < end; ++n)
      for (std::size_t i = 0; i < w.k; ++i) {
        const std::size_t g = n * groups + i / format.group;
        const int q = linear.q[n * w.k + i];
        if (q != 0 && q != format.top()) continue;
        const float step = linear.s1[n] * linear.s2[g], start = linear.s1[n] * linear.o[g];
        const float beyond =
            q == 0 ? start - w.w[n * w.k + i] : w.w[n * w.k + i] - (start + step * format.top());
        of_row[n] += beyond > step / 2;
      }
  });
  std::size_t clipped = 0;
  for (const std::size_t count : of_row) clipped += count;
  return w.n * w.k > 0 ? static_cast<double>(clipped) / static_cast<double>(w.n * w.k) : 0;
}

}  // namespace dgq
