#include "bench/timing.h"

#include <benchmark/benchmark.h>

#include "bench/statistics.h"

namespace dgq::bench {
namespace {

class Collector : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs)
      if (run.run_type == Run::RT_Iteration) seconds.push_back(run.GetAdjustedRealTime() * 1e-9);
  }
  std::vector<double> seconds;
};

}  // namespace

std::vector<double> Timer::samples(const std::function<void()>& operation) const {
  benchmark::RegisterBenchmark("operation",
                               [&](benchmark::State& state) {
                                 for (auto _ : state) operation();
                               })
      ->UseRealTime()
      ->Unit(benchmark::kNanosecond)
      ->MinTime(min_time_s)
      ->Repetitions(repetitions);
  Collector collector;
  benchmark::RunSpecifiedBenchmarks(&collector, "operation");
  benchmark::ClearRegisteredBenchmarks();
  return collector.seconds;
}

double Timer::median(const std::function<void()>& operation) const {
  return bench::median(samples(operation));
}

}  // namespace dgq::bench
