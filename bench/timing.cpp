#include "bench/timing.h"

#include <benchmark/benchmark.h>

namespace dgq::bench {
namespace {

class Collector : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) seconds = run.GetAdjustedRealTime() * 1e-9;
  }
  double seconds = 0;
};

}  // namespace

double seconds_per_call(double min_time_s, const std::function<void()>& operation) {
  benchmark::RegisterBenchmark("operation",
                               [&](benchmark::State& state) {
                                 for (auto _ : state) operation();
                               })
      ->UseRealTime()
      ->Unit(benchmark::kNanosecond)
      ->MinTime(min_time_s);
  Collector collector;
  benchmark::RunSpecifiedBenchmarks(&collector, "operation");
  benchmark::ClearRegisteredBenchmarks();
  return collector.seconds;
}

}  // namespace dgq::bench
