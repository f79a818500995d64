// bench/registry_bench.h - how fast the registry moves bytes, beside a plain copy and SHA-256 of the same bytes.
//
// Every repetition measures everything once, each operation right after its limit, and ratios are made of such pairs:
// on a shared machine speeds change by more than what is to be seen.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "bench/progress.h"

namespace dgq::bench {

struct RegistryBenchOptions {
  std::filesystem::path folder;        // on the disk to measure; a folder is made in it and removed
  std::size_t bytes = 256 << 20;       // of the model, raw
  std::size_t layer_bytes = 16 << 20;  // of one blob
  int repetitions = 5;
};

struct RegistryBenchRow {
  std::string data;       // "raw": zstd gains nothing; "zstd": as packed weights, zstd gains 8 %
  std::string operation;  // "add"
  std::string
      limit;  // what it is compared with: "copy" (write and fsync of each layer) or "sha256" (one core)
  std::vector<double> seconds, cpu_s;  // one per repetition; of a limit, one per comparison
  std::vector<double> zstd_s;          // of it, the work of zstd alone, measured by itself
  std::vector<double> ratio;           // time of the limit / (time - zstd)
  std::vector<double> ratio_with_zstd;
};

struct RegistryBenchReport {
  std::size_t bytes;
  std::vector<RegistryBenchRow> rows;  // limits have an empty `limit` and no ratios
};

Result<RegistryBenchReport> bench_registry(const RegistryBenchOptions& options, const Progress& progress);

}  // namespace dgq::bench
