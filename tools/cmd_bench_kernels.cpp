// tools/cmd_bench_kernels.cpp - `dgq bench kernels`: every kernel that this CPU runs, beside what the machine can do at most.
#include <algorithm>
#include <cstdio>

#include "bench/instructions.h"
#include "bench/make_run.h"
#include "bench/shapes.h"
#include "bench/statistics.h"
#include "kernels/cpu.h"
#include "tools/cmd_bench.h"
#include "tools/run_output.h"

namespace dgq::tools {
namespace po = boost::program_options;

namespace {

constexpr std::size_t kMaxRows = 65536;

constexpr const char* kExamples =
    "  dgq bench kernels\n"
    "  dgq bench kernels --shape llama2-7b --threads 1 --weights w4 --m 1,512\n"
    "  dgq bench kernels --n 4096 --k 11008 --m 1 --group 32 --output csv\n"
    "  dgq bench kernels --isa ref --m 1\n"
    "  dgq bench kernels --instructions --arm-dgq build/aarch64/tools/dgq\n";

void add_options(Options& options) {
  options.named.add_options()  //
      ("shape", po::value<std::string>()->default_value("llama-3.2-1b")->value_name("NAME|FILE.json"),
       "the model whose linears are measured (dgq bench model --list-shapes)")                //
      ("n", po::value<std::size_t>()->value_name("N"), "instead: one linear with N outputs")  //
      ("k", po::value<std::size_t>()->value_name("K"), "and K inputs")                        //
      ("m", po::value<std::string>()->value_name("M[,M...]"),
       "rows of activations (default: 1 decodes, 2 to 8 are small batches, 128 and 512 prompts)")  //
      ("weights", po::value<std::string>()->value_name("TYPE"),
       "only gemms, all linears with these weights: w4, w6 or w8")  //
      ("group", po::value<std::size_t>()->default_value(128)->value_name("G"),
       "w4 and w6 weights per group scale: 32, 64 or 128")  //
      ("act-block", po::value<std::string>()->default_value("128")->value_name("B"),
       "columns per activation scale: 128 or row")  //
      ("isa", po::value<std::string>()->value_name("NAME"),
       "only the rows of this name (default: all but ref, which is for reading)")  //
      ("threads", po::value<std::string>()->value_name("T"),
       "threads (default: one per physical core)")  //
      ("min-time", po::value<double>()->default_value(0.05, "0.05")->value_name("S"),
       "seconds of one repetition")  //
      ("repetitions", po::value<int>()->default_value(3)->value_name("N"), "repetitions; the median counts");
  options.named.add_options()  //
      ("instructions", po::bool_switch(),
       "instead of times: instructions per multiply-add, by perf or valgrind; estimates")  //
      ("arm-dgq", po::value<std::string>()->value_name("PATH"),
       "with --instructions: count in this 64-bit Arm build as well, under qemu")  //
      ("qemu", po::value<std::string>()->default_value("qemu-aarch64-static -cpu max")->value_name("WORDS"),
       "how to start it")  //
      ("arm-loops", po::value<std::string>()->value_name("FILE"),
       "with --instructions: add what tools/arm_loops --json has written")  //
      ("calls", po::value<std::size_t>()->value_name("N"),
       "only call the one kernel so often, so that a tool outside can count");
  add_cold_option(options);
  add_output_options(options, true);
}

Result<std::vector<bench::KernelCase>> read_cases(const Options& options) {
  std::vector<bench::KernelCase> cases;
  if (options.has("n") != options.has("k")) return Error{Errc::invalid, "--n and --k belong together"};
  if (options.has("n")) {
    const std::size_t n = options.get<std::size_t>("n"), k = options.get<std::size_t>("k");
    if (n < 1 || n > kMaxN || k < 1 || k > kMaxK)
      return Error{Errc::invalid,
                   "--n must be from 1 to " + std::to_string(kMaxN) + ", --k to " + std::to_string(kMaxK)};
    for (const auto operation :
         {bench::Operation::gemm_w4a8, bench::Operation::gemm_w6a8, bench::Operation::gemm_w8a8})
      cases.push_back({operation, "-", n, k, {1, 2, 4, 8, 128, 512}});
  } else {
    DGQ_TRY(const bench::Shape shape, bench::load_shape(options.get<std::string>("shape")));
    cases = bench::cases_of(shape.config);
  }
  if (options.has("weights")) {
    DGQ_TRY(const std::size_t chosen, one_of(options, "weights", {"w4", "w6", "w8"}));
    constexpr bench::Operation kGemms[] = {bench::Operation::gemm_w4a8, bench::Operation::gemm_w6a8,
                                           bench::Operation::gemm_w8a8};
    std::erase_if(cases, [&](const bench::KernelCase& c) {
      const bool quantized = std::find(std::begin(kGemms), std::end(kGemms), c.operation) != std::end(kGemms);
      return options.has("n") ? c.operation != kGemms[chosen] : !quantized;
    });
    for (bench::KernelCase& c : cases) c.operation = kGemms[chosen];
  }
  if (options.has("m")) {
    DGQ_TRY(const std::vector<std::size_t> rows, number_list(options, "m", kMaxRows));
    for (bench::KernelCase& c : cases) c.m = rows;
  }
  return cases;
}

Result<bench::KernelBenchOptions> read_options(const Options& options) {
  bench::KernelBenchOptions chosen{};
  DGQ_TRY(chosen.group, group_option(options));
  DGQ_TRY(chosen.act_block, act_block_option(options));
  DGQ_TRY(const std::vector<std::size_t> threads, thread_counts(options));
  if (threads.size() != 1) return Error{Errc::invalid, "--threads must be one number"};
  chosen.threads = static_cast<int>(threads.front());
  DGQ_TRY(chosen.repetitions, repetitions_option(options));
  chosen.min_time_s = options.get<double>("min-time");
  if (!(chosen.min_time_s > 0 && chosen.min_time_s <= 60))
    return Error{Errc::invalid, "--min-time must be above 0 and at most 60 seconds"};
  DGQ_TRY(chosen.cold_bytes, cold_option(options));
  return chosen;
}

Result<bench::KernelRows> choose_rows(const Options& options, const bench::KernelRows& in_use) {
  if (options.has("isa")) {
    const auto& isa = options.get<std::string>("isa");
    DGQ_TRY([[maybe_unused]] const Kernels known, select_kernels(isa));
    return bench::rows_named(in_use, isa);
  }
  bench::KernelRows rows = in_use;
  const auto drop_ref = [](auto& table) {
    if (table.size() > 1) table.pop_back();
  };
  drop_ref(rows.gemm_w4a8), drop_ref(rows.gemm_w6a8), drop_ref(rows.gemm_w8a8);
  drop_ref(rows.quantize_rows), drop_ref(rows.gemm_f32);
  return rows;
}

// Options that would be without effect.
Result<void> check_instructions(const Options& options) {
  const bool counts = options.get<bool>("instructions");
  for (const char* name : {"arm-dgq", "qemu", "arm-loops"})
    if (!counts && options.has(name))
      return Error{Errc::invalid, std::string("--") + name + " goes with --instructions"};
  for (const char* name : {"shape", "n", "k", "m", "weights", "group", "act-block", "isa", "threads",
                           "min-time", "repetitions", "cold-mib", "calls"})
    if (counts && options.has(name))
      return Error{Errc::invalid,
                   std::string("--") + name +
                       " does not go with --instructions, which counts the same calls everywhere"};
  return {};
}

Result<int> only_call(const Options& options, const std::vector<bench::KernelCase>& cases) {
  constexpr std::size_t kMost = 1'000'000;
  const auto calls = options.get<std::size_t>("calls");
  if (calls < 1 || calls > kMost || !options.has("isa") || !options.has("n") || !options.has("weights") ||
      cases.size() != 1 || cases[0].m.size() != 1)
    return Error{Errc::invalid, "--calls wants one kernel: --isa, --n, --k, --weights and one --m"};
  DGQ_TRY(const Kernels kernels, select_kernels(options.get<std::string>("isa")));
  DGQ_TRY(const std::size_t group, group_option(options));
  bench::call_kernel(cases[0], group, kernels, calls);
  return 0;
}

std::string fraction(double value) {
  char text[16] = "-";
  if (value > 0) std::snprintf(text, sizeof text, "%.0f%%", 100 * value);
  return text;
}

// "28.7 (7.1 to 29.0)": median, and how much it changed while the run went on; in units of 1e9.
std::string range(const std::vector<double>& samples) {
  const auto [least, most] = std::minmax_element(samples.begin(), samples.end());
  char text[64];
  std::snprintf(text, sizeof text, "%.1f (%.1f to %.1f)", bench::median(samples) * 1e-9, *least * 1e-9,
                *most * 1e-9);
  return text;
}

void print_table(const bench::KernelBenchOptions& options, std::size_t compared,
                 const bench::KernelBenchReport& report) {
  std::printf("CPU      %s (%s), %d thread(s)\n", cpu_name().c_str(), kArchitecture, options.threads);
  std::printf("checked  %zu comparisons with ref: same bits\n", compared);
  for (const bench::ReadLimit& limit : report.read)
    std::printf("read     %s GB/s with %d thread(s), %.0f MiB\n", range(limit.bytes_per_s).c_str(),
                limit.threads, static_cast<double>(report.cold_bytes) / (1 << 20));
  for (const bench::MultiplyAddLimit& limit : report.multiply_adds)
    std::printf("ceiling  %s GMAC/s of %s (%s)\n", range(limit.macs_per_s).c_str(), limit.isa.c_str(),
                limit.instructions.c_str());
  std::printf("\n%-13s %-10s %-8s %4s %6s %6s %10s %7s %8s %7s %10s\n", "operation", "isa", "linear", "m",
              "n", "k", "time", "GB/s", "of read", "GMAC/s", "of ceiling");
  for (const bench::KernelBenchRow& row : report.rows) {
    char macs[16] = "-";
    if (row.macs_per_s > 0) std::snprintf(macs, sizeof macs, "%.1f", row.macs_per_s * 1e-9);
    std::printf("%-13s %-10s %-8s %4zu %6zu %6zu %7.0f us %7.2f %8s %7s %10s\n",
                bench::name_of(row.operation), row.isa.c_str(), row.linear.c_str(), row.m, row.n, row.k,
                row.seconds * 1e6, row.bytes_per_s * 1e-9, fraction(row.of_read).c_str(), macs,
                fraction(row.of_multiply_add).c_str());
  }
}

}  // namespace

Result<int> bench_kernels(const Arguments& arguments) {
  Options options{
      "dgq bench kernels [options]",
      "Checks the kernels that this CPU runs against ref, bit by bit, then measures them on the linears of "
      "a\n"
      "model, beside the bandwidth of reading and the rate of the ISA's own multiply-adds. Both limits are\n"
      "measured right before each result, as they change when others use the machine.",
      kExamples,
      {},
      {},
      {}};
  add_options(options);
  DGQ_TRY(const bool go_on, options.parse(arguments));
  if (!go_on) return 0;
  DGQ_CHECK(output_format(options));
  DGQ_CHECK(check_instructions(options));
  if (options.get<bool>("instructions")) return bench_instructions(options);
  DGQ_TRY(const auto cases, read_cases(options));
  if (options.has("calls")) return only_call(options, cases);
  DGQ_TRY(const bench::KernelBenchOptions chosen, read_options(options));
  const bench::KernelRows runnable = bench::runnable_rows();
  DGQ_TRY(const bench::KernelRows rows, choose_rows(options, bench::rows_in_use(runnable)));
  bench::RunRecorder recorder("kernels");
  Progress progress;
  progress.update("checking against ref", 0);
  DGQ_TRY(const std::size_t compared, bench::check_against_ref(runnable));
  DGQ_TRY(const bench::KernelBenchReport report,
          bench::bench_kernels(rows, cases, chosen,
                               [&](const std::string& label, double done) { progress.update(label, done); }));
  progress.finish();
  const Json settings = {{"group", chosen.group},
                         {"act_block", chosen.act_block == 0 ? Json("row") : Json(chosen.act_block)},
                         {"cold_bytes", report.cold_bytes},
                         {"min_time_s", chosen.min_time_s},
                         {"equal_to_ref", compared}};
  const bench::Run run =
      recorder.finish(settings, bench::limits_of(report.read, report.multiply_adds),
                      bench::rows_of(report, {{"n_threads", chosen.threads}, {"group", chosen.group}}));
  DGQ_CHECK(deliver(options, run, [&] { print_table(chosen, compared, report); }));
  return 0;
}

}  // namespace dgq::tools
