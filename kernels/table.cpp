#include "kernels/table.h"

#include <algorithm>
#include <cstdlib>

#include "kernels/ref/ref.h"
#if defined(__x86_64__)
#include "kernels/x86/amx_int8.h"
#include "kernels/x86/avx2.h"
#include "kernels/x86/avx512vnni.h"
#include "kernels/x86/avxvnni.h"
#elif defined(__aarch64__)
#include "kernels/arm/neon.h"
#endif

namespace dgq {
namespace {

// prefill_rows: on x86 the number of rows at which both ran equally fast (4096 x 4096, one thread), each measured on the
// CPUs that the row is for; on Arm, where nothing was timed, executed the same number of instructions (docs/KERNELS.md).
constexpr GemmW4A8Kernel kGemmW4A8[] = {
#if defined(__x86_64__)
    {"amx_int8", kAvx2 | kAvx512Vnni | kAmxInt8, gemm_w4a8_1x16_avx512vnni, gemm_w4a8_32x32_amx_int8, 8},
    {"avx512vnni", kAvx2 | kAvx512Vnni, gemm_w4a8_1x16_avx512vnni_streams, gemm_w4a8_8x48_avx512vnni, 9,
     kHwStreams},
    {"avx512vnni", kAvx2 | kAvx512Vnni, gemm_w4a8_1x16_avx512vnni, gemm_w4a8_8x48_avx512vnni, 8},
    {"avxvnni", kAvx2 | kAvxVnni, gemm_w4a8_1x16_avxvnni, gemm_w4a8_6x16_avxvnni, 7},
    {"avx2", kAvx2, gemm_w4a8_1x16_avx2_streams, gemm_w4a8_4x16_avx2, 9, kHwStreams},
    {"avx2", kAvx2, gemm_w4a8_1x16_avx2, gemm_w4a8_4x16_avx2, 8},
#elif defined(__aarch64__)
    {"neon_i8mm", kNeon | kDotprod | kI8mm, gemm_w4a8_1x16_neon_dot, gemm_w4a8_12x8_neon_i8mm, 6},
    {"neon_dot", kNeon | kDotprod, gemm_w4a8_1x16_neon_dot, gemm_w4a8_8x8_neon_dot, 7},
    {"neon", kNeon, gemm_w4a8_1x16_neon, gemm_w4a8_6x4_neon, 6},
#endif
    {"ref", 0, gemm_w4a8_ref, gemm_w4a8_ref, 1},
};
constexpr GemmW6A8Kernel kGemmW6A8[] = {
#if defined(__x86_64__)
    {"amx_int8", kAvx2 | kAvx512Vnni | kAmxInt8, gemm_w6a8_1x16_avx512vnni, gemm_w6a8_32x32_amx_int8, 9},
    {"avx512vnni", kAvx2 | kAvx512Vnni, gemm_w6a8_1x16_avx512vnni_streams, gemm_w6a8_8x48_avx512vnni, 9,
     kHwStreams},
    {"avx512vnni", kAvx2 | kAvx512Vnni, gemm_w6a8_1x16_avx512vnni, gemm_w6a8_8x48_avx512vnni, 8},
    {"avxvnni", kAvx2 | kAvxVnni, gemm_w6a8_1x16_avxvnni, gemm_w6a8_6x16_avxvnni, 6},
    {"avx2", kAvx2, gemm_w6a8_1x16_avx2_streams, gemm_w6a8_4x16_avx2, 6, kHwStreams},
    {"avx2", kAvx2, gemm_w6a8_1x16_avx2, gemm_w6a8_4x16_avx2, 6},
#elif defined(__aarch64__)
    {"neon_i8mm", kNeon | kDotprod | kI8mm, gemm_w6a8_1x16_neon_dot, gemm_w6a8_12x8_neon_i8mm, 7},
    {"neon_dot", kNeon | kDotprod, gemm_w6a8_1x16_neon_dot, gemm_w6a8_8x8_neon_dot, 7},
    {"neon", kNeon, gemm_w6a8_1x16_neon, gemm_w6a8_4x4_neon, 4},
#endif
    {"ref", 0, gemm_w6a8_ref, gemm_w6a8_ref, 1},
};
constexpr GemmW8A8Kernel kGemmW8A8[] = {
#if defined(__x86_64__)
    {"amx_int8", kAvx2 | kAvx512Vnni | kAmxInt8, gemm_w8a8_1x16_avx512vnni, gemm_w8a8_32x32_amx_int8, 9},
    {"avx512vnni", kAvx2 | kAvx512Vnni, gemm_w8a8_1x16_avx512vnni_streams, gemm_w8a8_8x48_avx512vnni, 24,
     kHwStreams},
    {"avx512vnni", kAvx2 | kAvx512Vnni, gemm_w8a8_1x16_avx512vnni, gemm_w8a8_8x48_avx512vnni, 9},
    {"avxvnni", kAvx2 | kAvxVnni, gemm_w8a8_1x16_avxvnni, gemm_w8a8_6x16_avxvnni, 9},
    {"avx2", kAvx2, gemm_w8a8_1x16_avx2_streams, gemm_w8a8_4x16_avx2, 24, kHwStreams},
    {"avx2", kAvx2, gemm_w8a8_1x16_avx2, gemm_w8a8_4x16_avx2, 24},
#elif defined(__aarch64__)
    {"neon_i8mm", kNeon | kDotprod | kI8mm, gemm_w8a8_1x16_neon_dot, gemm_w8a8_12x8_neon_i8mm, 6},
    {"neon_dot", kNeon | kDotprod, gemm_w8a8_1x16_neon_dot, gemm_w8a8_8x8_neon_dot, 7},
    {"neon", kNeon, gemm_w8a8_1x16_neon, gemm_w8a8_4x4_neon, 6},
#endif
    {"ref", 0, gemm_w8a8_ref, gemm_w8a8_ref, 1},
};
constexpr QuantizeRowsKernel kQuantizeRows[] = {
#if defined(__x86_64__)
    {"avx2", kAvx2, quantize_rows_avx2, quantize_rows_twice_avx2, quantize_rows_given_avx2},
#elif defined(__aarch64__)
    {"neon", kNeon, quantize_rows_neon, quantize_rows_twice_neon, quantize_rows_given_neon},
#endif
    {"ref", 0, quantize_rows_ref, quantize_rows_twice_ref, quantize_rows_given_ref},
};
constexpr GemmF32Kernel kGemmF32[] = {
#if defined(__x86_64__)
    {"avx512vnni", kAvx2 | kAvx512Vnni, gemm_f32_3x8_avx512vnni},
    {"avx2", kAvx2, gemm_f32_3x2_avx2},
#elif defined(__aarch64__)
    {"neon", kNeon, gemm_f32_3x2_neon},
#endif
    {"ref", 0, gemm_f32_ref},
};

constexpr FloatOpsKernel kFloatOps[] = {
#if defined(__x86_64__)
    {"avx512vnni", kAvx2 | kAvx512Vnni, &float_ops_avx512vnni},
    {"avx2", kAvx2, &float_ops_avx2},
#elif defined(__aarch64__)
    {"neon", kNeon, &float_ops_neon},
#endif
    {"ref", 0, &float_ops_ref},
};

constexpr AttentionF16Kernel kAttentionF16[] = {
#if defined(__x86_64__)
    {"avx512vnni", kAvx2 | kAvx512Vnni, &attention_f16_avx512vnni},
    {"avx2", kAvx2, &attention_f16_avx2},
#elif defined(__aarch64__)
    {"neon", kNeon, &attention_f16_neon},
#endif
    {"ref", 0, &attention_f16_ref},
};

// Every name of every architecture, so that one that is right elsewhere gets a better answer than "unknown".
constexpr struct {
  const char* isa;
  const char* architecture;
} kIsaWords[] = {{"amx_int8", "x86-64"}, {"avx512vnni", "x86-64"}, {"avxvnni", "x86-64"},
                 {"avx2", "x86-64"},     {"neon_i8mm", "aarch64"}, {"neon_dot", "aarch64"},
                 {"neon", "aarch64"}};

bool has_needs(Features needs, Features features) { return (needs & features) == needs; }

// Calls visit(operation, rows) for every table.
template <class Visit>
void for_each_table(Visit visit) {
  visit("gemm_w4a8", gemm_w4a8_kernels());
  visit("gemm_w6a8", gemm_w6a8_kernels());
  visit("gemm_w8a8", gemm_w8a8_kernels());
  visit("quantize_rows", quantize_rows_kernels());
  visit("gemm_f32", gemm_f32_kernels());
  visit("float_ops", float_ops_kernels());
  visit("attention_f16", attention_f16_kernels());
}

template <class Row>
const Row* first_suitable(std::span<const Row> rows, Features features) {
  for (const Row& row : rows)
    if (has_needs(row.needs, features) && made_for_this_cpu(row)) return &row;
  return nullptr;  // not reached: ref needs nothing
}

// The names in the tables, each once, in the order of the tables with ref last.
std::vector<std::string> isa_names() {
  std::vector<std::string> names;
  for_each_table([&](const char*, auto rows) {
    for (const auto& row : rows)
      if (row.needs && std::find(names.begin(), names.end(), row.isa) == names.end())
        names.push_back(row.isa);
  });
  names.push_back("ref");
  return names;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

Error unknown_isa(std::string_view isa) {
  std::string what = "no kernel is called '" + std::string(isa) + "'";
  for (const auto& word : kIsaWords)
    if (isa == word.isa) what = "'" + std::string(isa) + "' kernels are for " + word.architecture + " only";
  return {Errc::invalid,
          what + " (DGQ_ISA; on " + kArchitecture + " there are: " + joined(isa_names()) + ")"};
}

// The features that `isa` stands for: what its rows need. Empty: all that this CPU has.
Result<Features> features_of(std::string_view isa) {
  const Features available = cpu_features();
  if (isa.empty()) return available;
  bool found = false;
  Features needs = 0;
  for_each_table([&](const char*, auto rows) {
    for (const auto& row : rows)
      if (isa == row.isa) found = true, needs |= row.needs;
  });
  if (!found) return unknown_isa(isa);
  if (!has_needs(needs, available))
    return Error{Errc::unsupported, "kernels '" + std::string(isa) + "' (DGQ_ISA) need " +
                                        feature_names(needs & ~available) +
                                        ", which this CPU lacks (it has: " + feature_names(available) + ")"};
  return needs;
}

template <class Row>
std::string reason(const Row& row, const Row& chosen, const Row& best, Features available) {
  if (!has_needs(row.needs, available)) return "needs " + feature_names(row.needs & ~available);
  if (!made_for_this_cpu(row)) return "runs, but is made for CPUs with " + feature_names(made_for(row));
  if (&row == &chosen && &row != &best) return "forced by DGQ_ISA";
  if (&row == &chosen)
    return "first row made for this CPU" + (made_for(row) ? " (" + feature_names(made_for(row)) + ")" : "");
  return &row < &chosen ? "not what DGQ_ISA asks for" : std::string(chosen.isa) + " comes first";
}

}  // namespace

std::span<const GemmW4A8Kernel> gemm_w4a8_kernels() { return kGemmW4A8; }
std::span<const GemmW6A8Kernel> gemm_w6a8_kernels() { return kGemmW6A8; }
std::span<const GemmW8A8Kernel> gemm_w8a8_kernels() { return kGemmW8A8; }
std::span<const QuantizeRowsKernel> quantize_rows_kernels() { return kQuantizeRows; }
std::span<const GemmF32Kernel> gemm_f32_kernels() { return kGemmF32; }
std::span<const FloatOpsKernel> float_ops_kernels() { return kFloatOps; }
std::span<const AttentionF16Kernel> attention_f16_kernels() { return kAttentionF16; }

Result<Kernels> select_kernels(std::string_view isa) {
  DGQ_TRY(const Features features, features_of(isa));
  Kernels kernels{};
  kernels.gemm_w4a8 = first_suitable(gemm_w4a8_kernels(), features);
  kernels.gemm_w6a8 = first_suitable(gemm_w6a8_kernels(), features);
  kernels.gemm_w8a8 = first_suitable(gemm_w8a8_kernels(), features);
  kernels.quantize_rows = first_suitable(quantize_rows_kernels(), features);
  kernels.gemm_f32 = first_suitable(gemm_f32_kernels(), features);
  kernels.float_ops = first_suitable(float_ops_kernels(), features);
  kernels.attention_f16 = first_suitable(attention_f16_kernels(), features);
  kernels.isa = kernels.gemm_w4a8->isa;
  return kernels;
}

Result<Kernels> select_kernels_from_environment() {
  const char* isa = std::getenv("DGQ_ISA");
  return select_kernels(isa ? isa : "");
}

std::vector<KernelListing> list_kernels(const Kernels& chosen) {
  const Features available = cpu_features();
  std::vector<KernelListing> listing;
  const auto list = [&](const char* operation, auto rows, const auto& picked) {
    const auto& best = *first_suitable(rows, available);
    for (const auto& row : rows)
      listing.push_back({operation, row.isa, row.needs, made_for(row), has_needs(row.needs, available),
                         &row == &picked, reason(row, picked, best, available)});
  };
  list("gemm_w4a8", gemm_w4a8_kernels(), *chosen.gemm_w4a8);
  list("gemm_w6a8", gemm_w6a8_kernels(), *chosen.gemm_w6a8);
  list("gemm_w8a8", gemm_w8a8_kernels(), *chosen.gemm_w8a8);
  list("quantize_rows", quantize_rows_kernels(), *chosen.quantize_rows);
  list("gemm_f32", gemm_f32_kernels(), *chosen.gemm_f32);
  list("float_ops", float_ops_kernels(), *chosen.float_ops);
  list("attention_f16", attention_f16_kernels(), *chosen.attention_f16);
  return listing;
}

}  // namespace dgq
