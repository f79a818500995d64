// bench/bench_plots.h - the plots of a page of runs, as SVG (report/chart.h). Internal to bench_page.cpp.
#pragma once

#include <string>
#include <vector>

#include "bench/bench_page.h"
#include "bench/run_entries.h"

namespace dgq::bench {

// Each leaves out the charts that would be empty.
std::vector<std::string> speed_plots(
    const std::vector<RunEntry>& entries);  // bars with intervals, a chart for each model and test
std::vector<std::string> roofline_plots(
    const std::vector<RunEntry>& entries);  // one for each machine and number of threads
std::vector<std::string> scaling_plots(
    const std::vector<RunEntry>& entries);  // over threads, rows of x, streams
std::vector<std::string> accuracy_plots(const std::vector<Accuracy>& accuracy);

// "dgq avx512vnni on AMD EPYC, 2 cores"
std::string series_name(const RunEntry& entry);

}  // namespace dgq::bench
