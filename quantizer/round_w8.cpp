#include "quantizer/round_w8.h"

#include "quantizer/fine_linear.h"
#include "quantizer/quadratic_form.h"
#include "runtime/parallel.h"

namespace dgq {

CoarseLinear round_w8(const F32Matrix& w, int threads) {
  CoarseLinear out;
  out.q.resize(w.n * w.k);
  out.s1.resize(w.n);
  std::vector<double> errors(w.n), energies(w.n);
  parallel_ranges(threads, w.n, [&](std::size_t begin, std::size_t end, int) {
    for (std::size_t n = begin; n < end; ++n) {
      const float* row = w.w + n * w.k;
      const float s1 = int8_unit(row, w.k), inverse = reciprocal(s1);
      out.s1[n] = s1;
      for (std::size_t k = 0; k < w.k; ++k) {
        const float q = round_even(clamp_to(row[k] * inverse, -kInt8Limit, kInt8Limit));
        const double d = row[k] - s1 * q;
        out.q[n * w.k + k] = static_cast<std::int8_t>(q);
        errors[n] += d * d;
        energies[n] += static_cast<double>(row[k]) * row[k];
      }
    }
  });
  double error = 0, energy = 0;
  for (std::size_t n = 0; n < w.n; ++n) error += errors[n], energy += energies[n];
  out.error = energy > 0 ? error / energy : 0;
  return out;
}

double output_loss(const GemmF32Kernel& gemm, const F32Matrix& w, std::span<const float> h,
                   const CoarseLinear& linear, int threads) {
  return quadratic_form(gemm, w.n, w.k, h, threads, [&](std::size_t n, float* to) {
    for (std::size_t i = n * w.k; i < (n + 1) * w.k; ++i)
      to[i - n * w.k] = w.w[i] - linear.s1[n] * static_cast<float>(linear.q[i]);
  });
}

}  // namespace dgq
