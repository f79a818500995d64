// tools/cmd_bench_registry.cpp - `dgq bench registry`: add, materialise, verify, export, import beside a plain copy and SHA-256.
#include <cstdio>

#include "bench/make_run.h"
#include "bench/statistics.h"
#include "tools/cmd_bench.h"
#include "tools/run_output.h"

namespace dgq::tools {
namespace po = boost::program_options;

namespace {

constexpr std::size_t kMostMib = 4096;

Result<bench::RegistryBenchOptions> read_options(const Options& options) {
  bench::RegistryBenchOptions chosen;
  chosen.folder = options.get<std::string>("folder");
  const auto mib = [&](const char* name) -> Result<std::size_t> {
    const auto value = options.get<std::size_t>(name);
    if (value >= 1 && value <= kMostMib) return value << 20;
    return Error{Errc::invalid, "--" + std::string(name) + " must be from 1 to " + std::to_string(kMostMib)};
  };
  DGQ_TRY(chosen.bytes, mib("mib"));
  DGQ_TRY(chosen.layer_bytes, mib("layer-mib"));
  DGQ_TRY(chosen.repetitions, repetitions_option(options));
  return chosen;
}

std::string number(const std::vector<double>& samples, const char* format) {
  if (samples.empty()) return "-";
  char text[32];
  std::snprintf(text, sizeof text, format, bench::median(samples));
  return text;
}

void print_table(const bench::RegistryBenchReport& report) {
  std::printf("%zu MiB, medians\n\n%-5s %-18s %9s %9s %9s %8s %8s %10s\n", report.bytes >> 20, "data",
              "operation", "ms", "cpu ms", "zstd ms", "beside", "ratio", "with zstd");
  const auto milliseconds = [](std::vector<double> seconds) {
    for (double& s : seconds) s *= 1e3;
    return number(seconds, "%.1f");
  };
  for (const bench::RegistryBenchRow& row : report.rows)
    std::printf("%-5s %-18s %9s %9s %9s %8s %8s %10s\n", row.data.c_str(), row.operation.c_str(),
                milliseconds(row.seconds).c_str(), milliseconds(row.cpu_s).c_str(),
                milliseconds(row.zstd_s).c_str(), row.limit.empty() ? "-" : row.limit.c_str(),
                number(row.ratio, "%.2f").c_str(), number(row.ratio_with_zstd, "%.2f").c_str());
}

}  // namespace

Result<int> bench_registry(const Arguments& arguments) {
  Options options{
      "dgq bench registry [options]",
      "Adds, materialises, verifies, exports and imports a synthetic model in a registry of its "
      "own, beside a\nplain copy (write and fsync) and SHA-256 of the same bytes in the same run. "
      "ratio: time of that limit by\nthe operation's time without what zstd takes alone.",
      "  dgq bench registry\n  dgq bench registry --folder /srv/models --mib 1024 --json\n",
      {},
      {},
      {}};
  const bench::RegistryBenchOptions base;
  options.named.add_options()  //
      ("folder", po::value<std::string>()->default_value(".")->value_name("FOLDER"),
       "on the disk to measure; all that is made in it is removed")  //
      ("mib", po::value<std::size_t>()->default_value(base.bytes >> 20)->value_name("MIB"),
       "bytes of the model; three times this is needed on the disk, once in memory")  //
      ("layer-mib", po::value<std::size_t>()->default_value(base.layer_bytes >> 20)->value_name("MIB"),
       "bytes of a layer")  //
      ("repetitions", po::value<int>()->default_value(base.repetitions)->value_name("N"),
       "repetitions; medians count");
  add_output_options(options, true);
  DGQ_TRY(const bool go_on, options.parse(arguments));
  if (!go_on) return 0;
  DGQ_TRY(const bench::RegistryBenchOptions chosen, read_options(options));
  DGQ_CHECK(output_format(options));
  bench::RunRecorder recorder("registry");
  Progress progress;
  DGQ_TRY(const bench::RegistryBenchReport report,
          bench::bench_registry(
              chosen, [&](const std::string& label, double done) { progress.update(label, done); }));
  progress.finish();
  const Json settings = {{"bytes", chosen.bytes}, {"layer_bytes", chosen.layer_bytes}};
  const bench::Run run = recorder.finish(settings, Json::object(), bench::rows_of(report));
  DGQ_CHECK(deliver(options, run, [&] { print_table(report); }));
  return 0;
}

}  // namespace dgq::tools
