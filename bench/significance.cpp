#include "bench/significance.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "bench/statistics.h"

namespace dgq::bench {
namespace {

constexpr std::size_t kMostExact = 50;
// Resamples: fewer of many samples, whose medians hardly differ, so that it takes no more than a second.
constexpr std::size_t kMostResamples = 2000, kLeastResamples = 200, kMostDraws = 4'000'000;

class Resampler {
 public:
  std::vector<double> operator()(const std::vector<double>& samples) {
    std::vector<double> drawn(samples.size());
    for (double& value : drawn) value = samples[random_() % samples.size()];
    return drawn;
  }

 private:
  std::mt19937_64 random_{1};
};

// The middle 95 % of what `statistic` gives.
template <class Statistic>
Interval bootstrap(std::size_t samples, const Statistic& statistic) {
  Resampler resample;
  std::vector<double> values(std::clamp(kMostDraws / samples, kLeastResamples, kMostResamples));
  for (double& value : values) value = statistic(resample);
  std::sort(values.begin(), values.end());
  const std::size_t tail = values.size() / 40;
  return {values[tail], values[values.size() - 1 - tail]};
}

struct Ranks {
  std::vector<double> of;  // each value's, 1 for the least; equal values share the mean of theirs
  double ties = 0;         // sum of t^3 - t over groups of t equal values
};
Ranks ranks_of(const std::vector<double>& values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t i, std::size_t j) { return values[i] < values[j]; });
  Ranks ranks{std::vector<double>(values.size()), 0};
  for (std::size_t first = 0; first < order.size();) {
    std::size_t last = first;
    while (last < order.size() && values[order[last]] == values[order[first]]) ++last;
    const auto count = static_cast<double>(last - first);
    for (std::size_t i = first; i < last; ++i)
      ranks.of[order[i]] = static_cast<double>(first) + (count + 1) / 2;
    ranks.ties += count * count * count - count;
    first = last;
  }
  return ranks;
}

// P(|Z| >= distance / deviation) with half a step of continuity.
double normal_p(double distance, double variance) {
  if (variance <= 0) return 1;
  const double z = std::max(0.0, std::fabs(distance) - 0.5) / std::sqrt(variance);
  return std::erfc(z / std::sqrt(2.0));
}

double at_most(const std::vector<double>& ways, double value) {
  const auto end = static_cast<std::ptrdiff_t>(value) + 1;
  return std::accumulate(ways.begin(), ways.begin() + end, 0.0) /
         std::accumulate(ways.begin(), ways.end(), 0.0);
}

// In how many ways n of n + m ranks give each U: the coefficients of a Gaussian binomial, as a product of (1 - x^(m+i)) / (1 - x^i).
std::vector<double> ways_of_u(std::size_t n, std::size_t m) {
  std::vector<double> ways(n * m + 1, 0);
  ways[0] = 1;
  for (std::size_t i = 1; i <= n; ++i) {
    for (std::size_t u = ways.size(); u-- > m + i;) ways[u] -= ways[u - m - i];
    for (std::size_t u = i; u < ways.size(); ++u) ways[u] += ways[u - i];
  }
  return ways;
}

// In how many ways signs give each sum of positive ranks.
std::vector<double> ways_of_sum(std::size_t n) {
  std::vector<double> ways(n * (n + 1) / 2 + 1, 0);
  ways[0] = 1;
  for (std::size_t rank = 1; rank <= n; ++rank)
    for (std::size_t sum = ways.size(); sum-- > rank;) ways[sum] += ways[sum - rank];
  return ways;
}

}  // namespace

Interval median_interval(const std::vector<double>& samples) {
  return bootstrap(samples.size(), [&](Resampler& resample) { return median(resample(samples)); });
}

Interval ratio_interval(const std::vector<double>& a, const std::vector<double>& b) {
  return bootstrap(a.size() + b.size(), [&](Resampler& resample) {
    const double below = median(resample(a));
    return median(resample(b)) / below;
  });
}

double mann_whitney_p(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.empty() || b.empty()) return 1;
  std::vector<double> all = a;
  all.insert(all.end(), b.begin(), b.end());
  const Ranks ranks = ranks_of(all);
  const auto n = static_cast<double>(a.size()), m = static_cast<double>(b.size());
  const double sum =
      std::accumulate(ranks.of.begin(), ranks.of.begin() + static_cast<std::ptrdiff_t>(a.size()), 0.0);
  const double u = sum - n * (n + 1) / 2;
  if (ranks.ties == 0 && std::max(a.size(), b.size()) <= kMostExact)
    return std::min(1.0, 2 * at_most(ways_of_u(a.size(), b.size()), std::min(u, n * m - u)));
  const double count = n + m;
  return normal_p(u - n * m / 2, n * m / 12 * (count + 1 - ranks.ties / (count * (count - 1))));
}

double signed_rank_p(const std::vector<double>& differences) {
  std::vector<double> sizes;
  std::vector<bool> positive;
  for (const double difference : differences) {
    if (difference == 0) continue;
    sizes.push_back(std::fabs(difference));
    positive.push_back(difference > 0);
  }
  if (sizes.empty()) return 1;
  const Ranks ranks = ranks_of(sizes);
  const auto n = static_cast<double>(sizes.size());
  double sum = 0;
  for (std::size_t i = 0; i < sizes.size(); ++i) sum += positive[i] ? ranks.of[i] : 0;
  const double most = n * (n + 1) / 2;
  if (ranks.ties == 0 && sizes.size() == differences.size() && sizes.size() <= kMostExact)
    return std::min(1.0, 2 * at_most(ways_of_sum(sizes.size()), std::min(sum, most - sum)));
  return normal_p(sum - most / 2, n * (n + 1) * (2 * n + 1) / 24 - ranks.ties / 48);
}

}  // namespace dgq::bench
