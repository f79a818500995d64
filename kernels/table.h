// kernels/table.h - every kernel there is: one table per operation, fastest row first, ref last.
//
// A kernel that is not a row does not exist: selection, tests, benchmarks and `dgq kernels` walk these
// tables.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kernels/attention_f16.h"
#include "kernels/float_ops.h"
#include "kernels/gemm_f32.h"
#include "kernels/gemm_q.h"
#include "kernels/quantize_rows.h"

namespace dgq {

std::span<const GemmW4A8Kernel> gemm_w4a8_kernels();
std::span<const GemmW6A8Kernel> gemm_w6a8_kernels();
std::span<const GemmW8A8Kernel> gemm_w8a8_kernels();
std::span<const QuantizeRowsKernel> quantize_rows_kernels();
std::span<const GemmF32Kernel> gemm_f32_kernels();
std::span<const FloatOpsKernel> float_ops_kernels();
std::span<const AttentionF16Kernel> attention_f16_kernels();

// The rows a model runs with. Chosen once, when it is loaded.
struct Kernels {
  std::string isa;  // of the W4A8 row: the name reports show
  const GemmW4A8Kernel* gemm_w4a8;
  const GemmW6A8Kernel* gemm_w6a8;
  const GemmW8A8Kernel* gemm_w8a8;
  const QuantizeRowsKernel* quantize_rows;
  const GemmF32Kernel* gemm_f32;
  const FloatOpsKernel* float_ops;
  const AttentionF16Kernel* attention_f16;
};

// What a CPU should have to take the row, beyond what it needs to run it; 0: any.
template <class Row>
Features made_for(const Row& row) {
  if constexpr (requires { row.made_for; }) return row.made_for;
  return 0;
}

template <class Row>
bool made_for_this_cpu(const Row& row) {
  return (made_for(row) & ~cpu_features()) == 0;
}

// The first row of each table that this CPU can run and should. `isa` empty: the best. Otherwise a name that occurs in a
// table: then the CPU counts as having only what rows of that name need ("ref": nothing), and an operation
// without such a row takes its next best. Error invalid: no table has that name (lists those there are);
// unsupported: this CPU lacks it.
Result<Kernels> select_kernels(std::string_view isa);

// select_kernels(getenv("DGQ_ISA")): what every command uses.
Result<Kernels> select_kernels_from_environment();

// y = w x^T by the row's kernel for this number of rows; arguments as in gemm_q.h.
template <class Row, class Matrix>
void run_gemm(const Row& row, const Matrix& w, const QuantizedRows& x, std::size_t block_begin,
              std::size_t block_end, float* y, std::size_t ldy) {
  (x.m < row.prefill_rows ? row.decode : row.prefill)(w, x, block_begin, block_end, y, ldy);
}

// One line of `dgq kernels`.
struct KernelListing {
  std::string operation, isa;
  Features needs, made_for;
  bool runnable, chosen;
  std::string
      reason;  // why chosen or not: "first row made for this CPU", "needs dotprod", "avx2 comes first"
};

// Every row of every table, in their order.
std::vector<KernelListing> list_kernels(const Kernels& chosen);

}  // namespace dgq
