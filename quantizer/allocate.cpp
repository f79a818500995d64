#include "quantizer/allocate.h"

#include "kernels/packed.h"

namespace dgq {
namespace {

std::uint64_t bytes_of(const F32Matrix& w, const FineFormat& format) {
  switch (format.bits) {
    case 4:
      return packed_w4_bytes(w.n, w.k, format.group, w.bias);
    case 6:
      return packed_w6_bytes(w.n, w.k, format.group, w.bias);
    default:
      return packed_w8_bytes(w.n, w.k, w.bias);
  }
}

// sum over rows of F[n] * sum_c column_weight[c] * step^2 / 12 / 2: rounding errors are even over a step.
double cost_of(const F32Matrix& w, const FineFormat& format, const LinearSensitivity& s) {
  const std::size_t group = format.bits == 8 ? w.k : format.group;
  std::vector<double> weight;  // of each group
  for (std::size_t begin = 0; begin < w.k; begin += group) {
    weight.push_back(0);
    for (std::size_t c = begin; c < std::min(begin + group, w.k); ++c) weight.back() += s.column_weight[c];
  }
  double cost = 0;
  for (std::size_t n = 0; n < w.n; ++n) {
    const float* row = w.w + n * w.k;
    const double unit = int8_unit(row, w.k);
    double sum = 0;
    for (std::size_t g = 0; g < weight.size(); ++g) {
      const auto [low, high] = std::minmax_element(row + g * group, row + std::min((g + 1) * group, w.k));
      const double range = static_cast<double>(*high) - *low;
      const double step = format.bits == 8 ? unit : std::max(unit, range / format.top());
      sum += weight[g] * step * step;
    }
    cost += s.row_fisher[n] * sum / 24;
  }
  return cost;
}

double gain_per_byte(const Choice& from, const Choice& to) {
  return (from.cost - to.cost) / static_cast<double>(to.bytes - from.bytes);
}

}  // namespace

std::vector<Choice> choices(const F32Matrix& w, const LinearSensitivity& sensitivity) {
  std::vector<Choice> all;
  for (const FineFormat& format :
       {FineFormat{128, 4}, FineFormat{64, 4}, FineFormat{32, 4}, FineFormat{128, 6}, FineFormat{64, 6},
        FineFormat{32, 6}, FineFormat{0, 8}})
    all.push_back({format, bytes_of(w, format), cost_of(w, format, sensitivity)});
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
