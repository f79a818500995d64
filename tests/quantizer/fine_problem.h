// tests/quantizer/fine_problem.h - a linear layer with inputs, small enough to be judged in double.
#pragma once

#include <cmath>

#include "kernels/packed.h"
#include "kernels/table.h"
#include "quantizer/fine_linear.h"
#include "quantizer/gram.h"
#include "tests/support/not_covered.h"
#include "tests/support/tiny_checkpoint.h"

namespace dgq::test {

inline const Kernels& best_kernels() {
  static const Kernels kernels = *select_kernels("");
  return kernels;
}
inline const GemmF32Kernel& best_gemm() { return *best_kernels().gemm_f32; }

// Rows that are correlated, with a few large channels, as activations are.
inline std::vector<float> activations(std::size_t m, std::size_t k, std::uint64_t seed) {
  std::vector<float> x = random_floats(m * k, 1, seed);
  for (std::size_t i = 0; i < m; ++i)
    for (std::size_t j = 0; j < k; ++j) {
      if (j % 8) x[i * k + j] += 0.7f * x[i * k + j - 1];
      if (j % 29 == 3) x[i * k + j] *= 12;
    }
  return x;
}

inline std::vector<float> statistics(std::size_t m, std::size_t k, std::uint64_t seed) {
  Gram gram(best_kernels(), k, 1);
  gram.add(activations(m, k, seed).data(), m);
  return gram.finish();
}

struct FineProblem {
  std::size_t n, k;
  FineFormat format;
  std::vector<float> w, h;

  FineProblem(std::size_t rows, std::size_t columns, std::size_t group, std::uint64_t seed, int bits = 4)
      : n(rows),
        k(columns),
        format{group, bits},
        w(random_floats(n * k, 0.05f, seed)),
        h(statistics(2 * k, k, seed + 1)) {}

  F32Matrix matrix() const { return {n, k, w.data(), nullptr}; }

  // d H d^T in double.
  double form(const std::vector<double>& d) const {
    double sum = 0;
    for (std::size_t i = 0; i < k; ++i)
      for (std::size_t j = 0; j < k; ++j) sum += d[i] * h[i * k + j] * d[j];
    return sum;
  }
  double loss_of_row(std::size_t row, const FineLinear& r) const {
    std::vector<double> d(k);
    for (std::size_t i = 0; i < k; ++i) {
      const std::size_t g = row * format.groups(k) + i / format.group;
      d[i] = w[row * k + i] - static_cast<double>(r.s1[row]) * (r.s2[g] * r.q[row * k + i] + r.o[g]);
    }
    return form(d);
  }
  double loss(const FineLinear& r) const {
    double sum = 0;
    for (std::size_t row = 0; row < n; ++row) sum += loss_of_row(row, r);
    return sum;
  }
  double energy() const {
    double sum = 0;
    for (std::size_t row = 0; row < n; ++row) {
      const float* first = w.data() + row * k;
      sum += form(std::vector<double>(first, first + k));
    }
    return sum;
  }

  // What the kernels would refuse; null when nothing.
  const char* fault(const FineLinear& r) const {
    const PlainFine plain{r.q.data(), r.s2.data(), r.o.data(), r.s1.data(), nullptr};
    const auto check = [&]<int kBits>() {
      std::vector<std::byte> section(packed_fine_bytes<kBits>(n, k, format.group, false));
      pack_fine<kBits>(plain, n, k, format.group, section.data());
      return find_fault(bind_fine<kBits>(section.data(), n, k, format.group, false));
    };
    return format.bits == 4 ? check.operator()<4>() : check.operator()<6>();
  }
};

inline bool same(const FineLinear& a, const FineLinear& b) {
  return a.q == b.q && a.s2 == b.s2 && a.o == b.o && a.s1 == b.s1;
}

// body(kernel, threads) for every gemm_f32 row that this CPU has.
template <class Body>
void for_each_gemm(const char* what, const Body& body) {
  for (const GemmF32Kernel& row : gemm_f32_kernels()) {
    if ((row.needs & cpu_features()) != row.needs) {
      not_covered(std::string(what) + " with gemm_f32 " + row.isa);
      continue;
    }
    for (int threads : {1, 2, 3}) body(row, threads);
  }
}

}  // namespace dgq::test
