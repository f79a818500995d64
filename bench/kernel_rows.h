// bench/kernel_rows.h - the rows of kernels/table.h that a run looks at.
#pragma once

#include <string_view>
#include <vector>

#include "kernels/table.h"

namespace dgq::bench {

// Those that this CPU can run, in the order of their table; the last of each is ref.
struct KernelRows {
  std::vector<GemmW4A8Kernel> gemm_w4a8;
  std::vector<GemmW6A8Kernel> gemm_w6a8;
  std::vector<GemmW8A8Kernel> gemm_w8a8;
  std::vector<QuantizeRowsKernel> quantize_rows;
  std::vector<GemmF32Kernel> gemm_f32;
  std::vector<FloatOpsKernel> float_ops;
};
KernelRows runnable_rows();

// Those that a model would run with: of a name that has rows for several kinds of CPU only the one for this CPU.
KernelRows rows_in_use(const KernelRows& rows);

// Only the rows of that name. The name must be right: select_kernels(isa) knows.
KernelRows rows_named(const KernelRows& rows, std::string_view isa);

// Compares every row with the last of its table on small and odd shapes, bit by bit: how many arrays were compared, or an
// Error (corrupt) that names operation, row and shape.
Result<std::size_t> check_against_ref(const KernelRows& rows);

}  // namespace dgq::bench
