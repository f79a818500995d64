// tools/cmd_bench.h - options that the commands of `dgq bench` share.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "registry/registry.h"
#include "tools/command.h"

namespace dgq::tools {

Result<int> bench_kernels(const Arguments& arguments);
Result<int> bench_model(const Arguments& arguments);
Result<int> bench_registry(const Arguments& arguments);
Result<int> bench_agent(const Arguments& arguments);
Result<int> bench_runs(const Arguments& arguments);  // tools/cmd_bench_runs.cpp
Result<int> bench_show(const Arguments& arguments);
Result<int> bench_export(const Arguments& arguments);
Result<int> bench_remove(const Arguments& arguments);

// `dgq bench kernels --instructions`, with the options of dgq bench kernels.
Result<int> bench_instructions(const Options& options);

// A file of runs into a registry.
struct ImportedRuns {
  std::size_t runs, added;
};
Result<ImportedRuns> import_runs(Registry& registry, std::string_view text, const std::string& where);

// Of options that were added under these names. Errors name the option.
Result<std::vector<std::size_t>> number_list(const Options& options, const char* name, std::size_t most);
Result<std::vector<std::size_t>> thread_counts(
    const Options& options);  // --threads, else one per physical core
// The index of the value among those allowed.
Result<std::size_t> one_of(const Options& options, const char* name, const std::vector<std::string>& values);
Result<bool> either(const Options& options, const char* name, const std::string& no, const std::string& yes);
Result<std::size_t> group_option(const Options& options);      // --group
Result<std::size_t> act_block_option(const Options& options);  // --act-block: as runtime/decoder.h takes it
Result<int> repetitions_option(const Options& options);        // --repetitions
Result<std::optional<double>> watts_option(const Options& options);  // --watts

// --cold-mib: memory that limits are measured on, and that kernels' weights go round in.
void add_cold_option(Options& options);
Result<std::size_t> cold_option(const Options& options);  // bytes

}  // namespace dgq::tools
