// bench/bench_page.h - benchmark runs as one HTML file: bars, a roofline for each machine, scaling, accuracy, set-ups.
#pragma once

#include <string>
#include <vector>

#include "bench/run.h"

namespace dgq::bench {

// What quantization cost a version of a registry (dgq eval compare --store), beside its size.
struct Accuracy {
  std::string name;  // "demo:latest"
  double bits_per_weight;
  double kld, kld_error;  // mean and its standard error
};

// Estimates (runs of kind "instructions") are in a section of their own. What there is no data for is left out.
std::string html(const std::vector<Run>& runs, const std::vector<Accuracy>& accuracy);

}  // namespace dgq::bench
