// bench/make_run.h - the results of benchmarks as runs (bench/run.h).
#pragma once

#include <filesystem>

#include "bench/kernel_bench.h"
#include "bench/model_bench.h"
#include "bench/registry_bench.h"
#include "bench/run.h"
#include "kernels/table.h"

namespace dgq::bench {

// A run of one kind: machine, build and conditions when it began. Call finish() right after what was measured.
class RunRecorder {
 public:
  explicit RunRecorder(std::string kind);
  Run finish(Json settings, Json limits, std::vector<RunRow> rows);

 private:
  Run run_;
  Json before_;
  double started_s_;
};

// {"isa": "avx2", "kernel_gemm_w4a8": "avx2", ...}
Json kernel_settings(const Kernels& kernels);

Json limits_of(const std::vector<ReadLimit>& read, const std::vector<MultiplyAddLimit>& multiply_adds);

// of: what all rows have in common: model, backend, ...
std::vector<RunRow> rows_of(const ModelBenchReport& report, const Json& of);
std::vector<RunRow> rows_of(const KernelBenchReport& report, const Json& of);
std::vector<RunRow> rows_of(const RegistryBenchReport& report);

}  // namespace dgq::bench
