// bench/significance.h - whether two sets of samples differ, and by how much. Nothing is assumed of their distributions. Samples are
// finite; results are the same on every machine (the bootstrap's random numbers are fixed).
#pragma once

#include <vector>

namespace dgq::bench {

struct Interval {
  double low, high;
};

// 95 % percentile bootstrap of the median. Precondition: not empty.
Interval median_interval(const std::vector<double>& samples);
// 95 % percentile bootstrap of median(b) / median(a). Precondition: neither is empty, and all are above 0.
Interval ratio_interval(const std::vector<double>& a, const std::vector<double>& b);

// Two-sided p of the Mann-Whitney U test: how likely samples differ so much that come from one distribution. Exact for up to 50
// each without ties, else the normal approximation with corrections for ties and continuity. 1 when either is empty.
double mann_whitney_p(const std::vector<double>& a, const std::vector<double>& b);

// Two-sided p of Wilcoxon's signed-rank test: how likely differences are so lopsided that are symmetric around 0. For pairs that were
// measured side by side, so that what disturbs one disturbs the other. Exact for up to 50 without ties and zeros, else as above.
double signed_rank_p(const std::vector<double>& differences);

}  // namespace dgq::bench
