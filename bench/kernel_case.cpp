#include "bench/kernel_case.h"

#include <cmath>
#include <random>

#include "bench/synthetic_model.h"

namespace dgq::bench {

std::size_t section_bytes(const KernelCase& c, std::size_t group) {
  switch (c.operation) {
    case Operation::gemm_w4a8:
      return round_up(packed_w4_bytes(c.n, c.k, group, false), 64);
    case Operation::gemm_w6a8:
      return round_up(packed_w6_bytes(c.n, c.k, group, false), 64);
    case Operation::gemm_w8a8:
      return round_up(packed_w8_bytes(c.n, c.k, false), 64);
    case Operation::gemm_f32:
      return round_up(c.n * c.k * sizeof(float), 64);
    case Operation::quantize_rows:
      return 0;
  }
  return 0;
}

namespace {

void fill_random(float* values, std::size_t count, float largest) {
  std::minstd_rand random(1);
  for (std::size_t i = 0; i < count; ++i)
    values[i] = largest * (static_cast<float>(random() % 65537) / 32768.0f - 1);
}

}  // namespace

void make_section(std::byte* at, const KernelCase& c, std::size_t group, int threads) {
  if (c.operation == Operation::gemm_w4a8) random_fine<4>(at, c.n, c.k, group, false, threads);
  if (c.operation == Operation::gemm_w6a8) random_fine<6>(at, c.n, c.k, group, false, threads);
  if (c.operation == Operation::gemm_w8a8) random_w8(at, c.n, c.k, false, threads);
  if (c.operation == Operation::gemm_f32)
    fill_random(reinterpret_cast<float*>(at), c.n * c.k, 1 / std::sqrt(static_cast<float>(c.k)));
}

Linear linear_at(const std::byte* at, const KernelCase& c, std::size_t group) {
  if (c.operation == Operation::gemm_w4a8) return bind_w4(at, c.n, c.k, group, false);
  if (c.operation == Operation::gemm_w6a8) return bind_w6(at, c.n, c.k, group, false);
  if (c.operation == Operation::gemm_w8a8) return bind_w8(at, c.n, c.k, false);
  return F32Matrix{c.n, c.k, reinterpret_cast<const float*>(at), nullptr};
}

std::vector<float> random_activations(std::size_t count) {
  std::vector<float> x(count);
  fill_random(x.data(), count, 1);
  return x;
}

}  // namespace dgq::bench
