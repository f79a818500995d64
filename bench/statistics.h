// bench/statistics.h - what reports say about repeated measurements. Samples must not be empty.
#pragma once

#include <vector>

namespace dgq::bench {

double mean(const std::vector<double>& samples);
double deviation(
    const std::vector<double>& samples);  // of the sample (n - 1), as llama-bench has it; 0 for one
double median(std::vector<double> samples);

}  // namespace dgq::bench
