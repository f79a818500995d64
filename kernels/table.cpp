#include "kernels/table.h"

#include <cstdlib>

#include "kernels/ref/ref.h"
#if defined(__x86_64__)
#include "kernels/x86/avx2.h"
#elif defined(__aarch64__)
#include "kernels/arm/neon.h"
#endif

namespace dgq {
namespace {

constexpr GemmW4A8Kernel kGemmW4A8[] = {
#if defined(__x86_64__)
    {"avx2", kAvx2, gemm_w4a8_1x16_avx2, gemm_w4a8_4x16_avx2},
#elif defined(__aarch64__)
    {"neon_dot", kNeon | kDotprod, gemm_w4a8_1x16_neon_dot, gemm_w4a8_4x16_neon_dot},
#endif
    {"ref", 0, gemm_w4a8_ref, gemm_w4a8_ref},
};
constexpr GemmW8A8Kernel kGemmW8A8[] = {
#if defined(__x86_64__)
    {"avx2", kAvx2, gemm_w8a8_1x16_avx2, gemm_w8a8_4x16_avx2},
#elif defined(__aarch64__)
    {"neon_dot", kNeon | kDotprod, gemm_w8a8_1x16_neon_dot, gemm_w8a8_4x16_neon_dot},
#endif
    {"ref", 0, gemm_w8a8_ref, gemm_w8a8_ref},
};
constexpr QuantizeRowsKernel kQuantizeRows[] = {
#if defined(__x86_64__)
    {"avx2", kAvx2, quantize_rows_avx2},
#elif defined(__aarch64__)
    {"neon", kNeon, quantize_rows_neon},
#endif
    {"ref", 0, quantize_rows_ref},
};
constexpr GemmF32Kernel kGemmF32[] = {
#if defined(__x86_64__)
    {"avx2", kAvx2, gemm_f32_3x2_avx2},
#elif defined(__aarch64__)
    {"neon", kNeon, gemm_f32_3x2_neon},
#endif
    {"ref", 0, gemm_f32_ref},
};

template <class Row, std::size_t N>
const Row* first_runnable(const Row (&rows)[N], Features features) {
  for (const Row& row : rows)
    if ((row.needs & features) == row.needs) return &row;
  return nullptr;  // not reached: ref needs nothing
}

}  // namespace

std::span<const GemmW4A8Kernel> gemm_w4a8_kernels() { return kGemmW4A8; }
std::span<const GemmW8A8Kernel> gemm_w8a8_kernels() { return kGemmW8A8; }
std::span<const QuantizeRowsKernel> quantize_rows_kernels() { return kQuantizeRows; }
std::span<const GemmF32Kernel> gemm_f32_kernels() { return kGemmF32; }

Result<Kernels> select_kernels(std::string_view isa) {
  (void)isa;
  const Features features = cpu_features();
  Kernels kernels{};
  kernels.gemm_w4a8 = first_runnable(kGemmW4A8, features);
  kernels.gemm_w8a8 = first_runnable(kGemmW8A8, features);
  kernels.quantize_rows = first_runnable(kQuantizeRows, features);
  kernels.gemm_f32 = first_runnable(kGemmF32, features);
  kernels.isa = kernels.gemm_w4a8->isa;
  return kernels;
}

Result<Kernels> select_kernels_from_environment() {
  const char* isa = std::getenv("DGQ_ISA");
  return select_kernels(isa ? isa : "");
}

std::vector<KernelListing> list_kernels(const Kernels&) { return {}; }

}  // namespace dgq
