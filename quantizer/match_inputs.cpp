#include "quantizer/match_inputs.h"

#include "quantizer/cholesky.h"
#include "runtime/parallel.h"

namespace dgq {

std::vector<float> match_inputs(const GemmF32Kernel& gemm, const F32Matrix& w, const InputStatistics& inputs,
                                double damping, double strength, int threads) {
  const std::size_t k = w.k;
  std::vector<float> matched(w.w, w.w + w.n * k);
  std::vector<double> system(inputs.h.begin(), inputs.h.end());
  double mean = 0;
  for (std::size_t i = 0; i < k; ++i) mean += system[i * k + i] / static_cast<double>(k);
  for (std::size_t i = 0; i < k; ++i) system[i * k + i] += damping * mean;
  if (!factor_cholesky(system, k, threads)) return matched;  // no inputs to speak of
  parallel_ranges(threads, w.n, [&](std::size_t begin, std::size_t end, int) {
    std::vector<float> product(k);
    std::vector<double> change(k);
    for (std::size_t n = begin; n < end; ++n) {
      gemm.run({k, k, inputs.drift.data(), nullptr}, w.w + n * k, k, 1, 0, k, product.data(), k);
      change.assign(product.begin(), product.end());
      solve_cholesky(system, k, change.data(), 1, 1);
      for (std::size_t i = 0; i < k; ++i) matched[n * k + i] += static_cast<float>(strength * change[i]);
    }
  });
  return matched;
}

}  // namespace dgq
