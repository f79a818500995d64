#include "quantizer/allocate.h"

#include "kernels/packed.h"
#include "quantizer/clones.h"
#include "runtime/parallel.h"

namespace dgq {
namespace {

constexpr FineFormat kFormats[] = {{128, 4}, {64, 4}, {32, 4}, {128, 6}, {64, 6}, {32, 6}, {0, 8}};
constexpr std::size_t kBlock = 32;  // columns: every group is some of them

// Lowest and highest of each block, of which the last may be shorter.
DGQ_CLONES void find_ranges(const float* row, std::size_t k, float* low, float* high) {
  constexpr std::size_t kLanes = 16;
  for (std::size_t begin = 0; begin < k; begin += kBlock) {
    float least[kLanes], most[kLanes];
    for (std::size_t i = 0; i < kLanes; ++i) least[i] = most[i] = row[begin];
    const std::size_t end = std::min(begin + kBlock, k);
    std::size_t c = begin;
    for (; c + kLanes <= end; c += kLanes)
      for (std::size_t i = 0; i < kLanes; ++i) {
        least[i] = row[c + i] < least[i] ? row[c + i] : least[i];
        most[i] = row[c + i] > most[i] ? row[c + i] : most[i];
      }
    for (; c < end; ++c) {
      least[0] = std::min(least[0], row[c]);
      most[0] = std::max(most[0], row[c]);
    }
    *low++ = *std::min_element(least, least + kLanes);
    *high++ = *std::max_element(most, most + kLanes);
  }
}

// The sum of column_weight over each group, by format.
std::vector<double> group_weights(std::span<const double> column_weight, const FineFormat& format) {
  const std::size_t group = format.bits == 8 ? column_weight.size() : format.group;
  std::vector<double> weights;
  for (std::size_t c = 0; c < column_weight.size(); ++c) {
    if (c % group == 0) weights.push_back(0);
    weights.back() += column_weight[c];
  }
  return weights;
}

// sum over groups of weight * step^2. low, high: of each block of the row.
double row_cost(std::span<const float> low, std::span<const float> high, std::span<const double> weights,
                const FineFormat& format, double unit) {
  const std::size_t blocks = format.bits == 8 ? low.size() : format.group / kBlock;
  double sum = 0;
  for (std::size_t g = 0; g < weights.size(); ++g) {
    const std::size_t begin = g * blocks, end = std::min(begin + blocks, low.size());
    const double range = static_cast<double>(*std::max_element(&high[begin], &high[0] + end)) -
                         *std::min_element(&low[begin], &low[0] + end);
    const double step = format.bits == 8 ? unit : std::max(unit, range / format.top());
    sum += weights[g] * step * step;
  }
  return sum;
}

// Of each format: sum over rows of F[n] * sum_c column_weight[c] * step^2 / 12 / 2, as rounding errors are even over a step.
std::array<double, std::size(kFormats)> costs_of(const F32Matrix& w, const LinearSensitivity& s,
                                                 int threads) {
  std::array<std::vector<double>, std::size(kFormats)> weights, rows;
  for (std::size_t f = 0; f < std::size(kFormats); ++f) {
    weights[f] = group_weights(s.column_weight, kFormats[f]);
    rows[f].resize(w.n);
  }
  parallel_ranges(threads, w.n, [&](std::size_t begin, std::size_t end, int) {
    std::vector<float> low((w.k + kBlock - 1) / kBlock), high(low.size());
    for (std::size_t n = begin; n < end; ++n) {
      const float* row = w.w + n * w.k;
      find_ranges(row, w.k, low.data(), high.data());
      const double unit = int8_unit(row, w.k);
      for (std::size_t f = 0; f < std::size(kFormats); ++f)
        rows[f][n] = row_cost(low, high, weights[f], kFormats[f], unit);
    }
  });
  std::array<double, std::size(kFormats)> costs{};
  for (std::size_t f = 0; f < std::size(kFormats); ++f)
    for (std::size_t n = 0; n < w.n; ++n) costs[f] += s.row_fisher[n] * rows[f][n] / 24;
  return costs;
}

double gain_per_byte(const Choice& from, const Choice& to) {
  return (from.cost - to.cost) / static_cast<double>(to.bytes - from.bytes);
}

}  // namespace

std::uint64_t linear_bytes(std::size_t n, std::size_t k, bool bias, const FineFormat& format) {
  switch (format.bits) {
    case 4:
      return packed_w4_bytes(n, k, format.group, bias);
    case 6:
      return packed_w6_bytes(n, k, format.group, bias);
    default:
      return packed_w8_bytes(n, k, bias);
  }
}

std::uint64_t least_linear_bytes(std::size_t n, std::size_t k, bool bias) {
  std::uint64_t least = UINT64_MAX;
  for (const FineFormat& format : kFormats) least = std::min(least, linear_bytes(n, k, bias, format));
  return least;
}

std::vector<Choice> choices(const F32Matrix& w, const LinearSensitivity& sensitivity, int threads) {
  const auto costs = costs_of(w, sensitivity, threads);
  std::vector<Choice> all;
  for (std::size_t f = 0; f < std::size(kFormats); ++f)
    all.push_back({kFormats[f], linear_bytes(w.n, w.k, w.bias, kFormats[f]), costs[f]});
  std::stable_sort(all.begin(), all.end(), [](const Choice& a, const Choice& b) {
    return a.bytes != b.bytes ? a.bytes < b.bytes : a.cost < b.cost;
  });
  std::vector<Choice> hull;
  for (const Choice& next : all) {
    if (!hull.empty() && (next.bytes == hull.back().bytes || next.cost >= hull.back().cost)) continue;
    while (hull.size() > 1 && gain_per_byte(hull.end()[-2], hull.back()) <= gain_per_byte(hull.back(), next))
      hull.pop_back();
    hull.push_back(next);
  }
  return hull;
}

std::vector<std::size_t> allocate(std::span<const std::vector<Choice>> linears, std::uint64_t budget) {
  std::vector<std::size_t> chosen(linears.size());
  std::uint64_t bytes = 0;
  for (const auto& linear : linears) bytes += linear[0].bytes;
  for (;;) {
    std::size_t best = linears.size();
    double gain = 0;
    for (std::size_t i = 0; i < linears.size(); ++i) {
      if (chosen[i] + 1 == linears[i].size()) continue;
      const Choice &from = linears[i][chosen[i]], &to = linears[i][chosen[i] + 1];
      if (bytes + to.bytes - from.bytes > budget || gain_per_byte(from, to) <= gain) continue;
      best = i;
      gain = gain_per_byte(from, to);
    }
    if (best == linears.size()) return chosen;
    bytes += linears[best][chosen[best] + 1].bytes - linears[best][chosen[best]].bytes;
    ++chosen[best];
  }
}

}  // namespace dgq
