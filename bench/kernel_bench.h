// bench/kernel_bench.h - how fast kernels are, beside what this machine can do at most.
//
// Weights are cold, as in a decoder that has read all other layers since: calls go round through copies that fill
// `cold_bytes`. Kernels are run as the decoder runs them (runtime/linear.h), on all threads.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "bench/kernel_rows.h"
#include "bench/limits.h"
#include "bench/progress.h"
#include "runtime/config.h"

namespace dgq::bench {

enum class Operation { gemm_w4a8, gemm_w6a8, gemm_w8a8, gemm_f32, quantize_rows };
const char* name_of(Operation operation);

struct KernelCase {
  Operation operation;
  std::string linear;          // what it is in a model: "gate up"; for people
  std::size_t n, k;            // n: 1 for quantize_rows
  std::vector<std::size_t> m;  // rows of activations, each measured
};

// The operations of a model as the quantizer makes it: layers W4, head W8, in decode (m 1), small batches and prefill.
std::vector<KernelCase> cases_of(const ModelConfig& config);

struct KernelBenchOptions {
  std::size_t group = 128;            // of W4 and W6
  std::size_t act_block = kActBlock;  // or 0: one activation scale per row
  int threads = 1;
  std::size_t cold_bytes;
  double min_time_s = 0.05;  // of one repetition
  int repetitions = 3;       // medians count
};

struct KernelBenchRow {
  Operation operation;
  std::string isa, linear;
  std::size_t m, n, k;
  std::vector<double> samples_s = {};  // of one call, one for each repetition
  double seconds = 0;                  // their median
  double bytes_per_s = 0;              // of weights, or of the floats that quantize_rows reads
  double macs_per_s = 0;               // 0 for quantize_rows
  double of_read = 0;  // fractions of the limits, each measured right before; 0: there is none
  double of_multiply_add = 0;
};

struct KernelBenchReport {
  std::size_t cold_bytes;  // as asked for, or one copy of the largest linear
  std::vector<ReadLimit> read;
  std::vector<MultiplyAddLimit> multiply_adds;
  std::vector<KernelBenchRow> rows;
};

// invalid: more memory than there is.
Result<KernelBenchReport> bench_kernels(const KernelRows& rows, const std::vector<KernelCase>& cases,
                                        const KernelBenchOptions& options, const Progress& progress);

}  // namespace dgq::bench
