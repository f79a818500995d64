// tools/cmd_bench.cpp - `dgq bench`: how fast this machine is.
#include "tools/cmd_bench.h"

#include <algorithm>
#include <sstream>

#include "bench/limits.h"
#include "bench/memory.h"
#include "kernels/quantize_rows.h"
#include "runtime/parallel.h"

namespace dgq::tools {
namespace {

constexpr std::size_t kMaxThreads = 256;
constexpr int kMaxRepetitions = 10000;

constexpr Command kCommands[] = {
    {"kernels", "every kernel on the linears of a model, beside what the machine can do at most",
     bench_kernels},
    {"model", "tokens per second of a synthetic model, in the columns of llama-bench", bench_model},
    {"registry", "the registry, beside a plain copy and SHA-256 of the same bytes", bench_registry},
    {"agent", "load on an agent: tokens per second, time to first token, between tokens", bench_agent},
    {"runs", "list the runs that the registry keeps", bench_runs},
    {"show", "print a run again, as a table, CSV, JSON or SQL", bench_show},
    {"export", "write runs into one file, for another registry", bench_export},
    {"remove", "take a run out of the registry", bench_remove},
};
constexpr CommandGroup kBench = {
    "dgq bench",
    "Measures speed on this machine, and keeps every run in the registry if there is one. Nothing is "
    "downloaded.",
    "  dgq bench kernels\n  dgq bench model --shape llama-3.2-1b\n  dgq bench registry\n  dgq bench runs\n",
    kCommands};

}  // namespace

Result<std::vector<std::size_t>> number_list(const Options& options, const char* name, std::size_t most) {
  std::vector<std::size_t> numbers;
  std::istringstream list(options.get<std::string>(name) + ",");
  for (std::string word; std::getline(list, word, ',');) {
    const bool digits = !word.empty() && word.size() <= 9 &&
                        std::all_of(word.begin(), word.end(), [](char c) { return c >= '0' && c <= '9'; });
    const std::size_t number = digits ? std::stoul(word) : 0;
    if (number < 1 || number > most)
      return Error{Errc::invalid, "--" + std::string(name) + " takes numbers from 1 to " +
                                      std::to_string(most) + ", with commas between them, not '" + word +
                                      "'"};
    numbers.push_back(number);
  }
  return numbers;
}

Result<std::vector<std::size_t>> thread_counts(const Options& options) {
  if (options.has("threads")) return number_list(options, "threads", kMaxThreads);
  return std::vector{static_cast<std::size_t>(physical_cores())};
}

Result<std::size_t> one_of(const Options& options, const char* name, const std::vector<std::string>& values) {
  const auto& value = options.get<std::string>(name);
  const auto found = std::find(values.begin(), values.end(), value);
  if (found != values.end()) return static_cast<std::size_t>(found - values.begin());
  std::string allowed = values.front();
  for (std::size_t i = 1; i < values.size(); ++i)
    allowed += (i + 1 < values.size() ? ", " : " or ") + values[i];
  return Error{Errc::invalid, "--" + std::string(name) + " must be " + allowed + ", not '" + value + "'"};
}

Result<bool> either(const Options& options, const char* name, const std::string& no, const std::string& yes) {
  DGQ_TRY(const std::size_t chosen, one_of(options, name, {no, yes}));
  return chosen == 1;
}

Result<std::size_t> group_option(const Options& options) {
  const auto group = options.get<std::size_t>("group");
  if (group == 32 || group == 64 || group == 128) return group;
  return Error{Errc::invalid, "--group must be 32, 64 or 128"};
}

Result<std::size_t> act_block_option(const Options& options) {
  DGQ_TRY(const bool row, either(options, "act-block", "128", "row"));
  return row ? std::size_t{0} : kActBlock;
}

Result<int> repetitions_option(const Options& options) {
  const int repetitions = options.get<int>("repetitions");
  if (repetitions >= 1 && repetitions <= kMaxRepetitions) return repetitions;
  return Error{Errc::invalid, "--repetitions must be from 1 to " + std::to_string(kMaxRepetitions)};
}

Result<std::optional<double>> watts_option(const Options& options) {
  if (!options.has("watts")) return std::optional<double>();
  const double watts = options.get<double>("watts");
  if (watts > 0 && watts <= 1e5) return std::optional(watts);
  return Error{Errc::invalid, "--watts must be above 0 and at most 100000"};
}

void add_cold_option(Options& options) {
  options.named.add_options()(
      "cold-mib", boost::program_options::value<std::size_t>()->value_name("MIB"),
      "memory that the limits are measured on, so that nothing of it is in a cache (default: twice the "
      "last-level cache, at least 256, at most half of what is available)");
}

Result<std::size_t> cold_option(const Options& options) {
  if (!options.has("cold-mib")) {
    DGQ_TRY(const std::uint64_t available, bench::available_memory_bytes());
    return std::min<std::size_t>(bench::cold_bytes(), available / 2);
  }
  constexpr std::size_t kMost = std::size_t{1} << 20;  // 1 TiB
  const auto mib = options.get<std::size_t>("cold-mib");
  if (mib >= 1 && mib <= kMost) return mib << 20;
  return Error{Errc::invalid, "--cold-mib must be from 1 to " + std::to_string(kMost)};
}

Result<int> run_bench(const Arguments& arguments) { return dispatch(kBench, arguments); }

}  // namespace dgq::tools
