#include "runtime/compare.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "runtime/math.h"
#include "runtime/parallel.h"
#include "runtime/windows.h"

namespace dgq {
namespace {

constexpr double kBinWidth = 0.2;  // of where a bin starts

double mean(std::span<const double> values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

double standard_error(std::span<const double> values) {
  if (values.size() < 2) return 0;
  const double centre = mean(values), count = static_cast<double>(values.size());
  double squares = 0;
  for (const double value : values) squares += (value - centre) * (value - centre);
  return std::sqrt(squares / (count - 1) / count);
}

// The value below which the share lies (the nearest rank).
double quantile(std::vector<double>& values, double share) {
  const auto rank = static_cast<std::size_t>(share * static_cast<double>(values.size() - 1) + 0.5);
  const auto at = values.begin() + static_cast<std::ptrdiff_t>(rank);
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

using Distances = std::vector<PositionDistance>;

template <class Member>
double mean_of(std::span<const PositionDistance> distances, const Member& member) {
  double sum = 0;
  for (const PositionDistance& distance : distances) sum += member(distance);
  return sum / static_cast<double>(distances.size());
}

// A mean that grows window by window (Welford, Technometrics 4, 1962).
struct RunningMean {
  double count = 0, mean = 0, squares = 0;

  void add(double value) {
    const double from_old = value - mean;
    mean += from_old / ++count;
    squares += from_old * (value - mean);
  }
  WindowMean finish() const { return {mean, count < 2 ? 0 : std::sqrt(squares / (count - 1) / count)}; }
};

// Positions of a window in bins.
class PositionTally {
 public:
  explicit PositionTally(std::vector<PositionBin> bins) : bins_(std::move(bins)), means_(bins_.size()) {}

  void add(const Distances& window) {
    for (std::size_t i = 0; i < bins_.size(); ++i) {
      const std::size_t first = bins_[i].first - 1, count = bins_[i].last - first;
      const auto bin = std::span(window).subspan(first, count);
      means_[i].kld.add(mean_of(bin, [](const auto& d) { return d.kld; }));
      means_[i].nll_reference.add(mean_of(bin, [](const auto& d) { return d.nll_reference; }));
      means_[i].nll_other.add(mean_of(bin, [](const auto& d) { return d.nll_other; }));
    }
  }

  std::vector<PositionBin> finish() && {
    for (std::size_t i = 0; i < bins_.size(); ++i) {
      bins_[i].kld = means_[i].kld.finish();
      bins_[i].nll_reference = means_[i].nll_reference.finish();
      bins_[i].nll_other = means_[i].nll_other.finish();
    }
    return std::move(bins_);
  }

 private:
  struct Means {
    RunningMean kld, nll_reference, nll_other;
  };
  std::vector<PositionBin> bins_;
  std::vector<Means> means_;
};

// From 1 to `last`, each bin `ratio` times as wide as its start, but one position at least.
std::vector<PositionBin> position_bins(std::size_t last, double ratio) {
  std::vector<PositionBin> bins;
  for (std::size_t first = 1; first <= last; first = bins.back().last + 1) {
    const auto width = static_cast<std::size_t>(static_cast<double>(first) * ratio);
    bins.push_back({first, std::min(last, first + std::max<std::size_t>(1, width) - 1), {}, {}, {}});
  }
  return bins;
}

// The means of each window, and the figures of every position that no mean can give.
struct Tally {
  explicit Tally(std::size_t context)
      : positions(position_bins(context - 1, 0)), bins(position_bins(context - 1, kBinWidth)) {}

  PositionTally positions, bins;
  std::vector<double> nll_reference, nll_other, kld, same_top, top_shift, top_shift_square;  // [windows]
  std::vector<double> every_kld;                                                             // [positions]

  void add(const Distances& window) {
    positions.add(window);
    bins.add(window);
    nll_reference.push_back(mean_of(window, [](const auto& d) { return d.nll_reference; }));
    nll_other.push_back(mean_of(window, [](const auto& d) { return d.nll_other; }));
    kld.push_back(mean_of(window, [](const auto& d) { return d.kld; }));
    same_top.push_back(mean_of(window, [](const auto& d) { return d.same_top ? 1.0 : 0.0; }));
    top_shift.push_back(mean_of(window, [](const auto& d) { return d.top_shift; }));
    top_shift_square.push_back(mean_of(window, [](const auto& d) { return d.top_shift * d.top_shift; }));
    for (const PositionDistance& distance : window) every_kld.push_back(distance.kld);
  }

  Comparison finish(std::size_t context) {
    Comparison result;
    result.positions = std::move(positions).finish();
    result.bins = std::move(bins).finish();
    result.reference = summarise_windows(nll_reference, context);
    result.other = summarise_windows(nll_other, context);
    result.kld_mean = mean(kld);
    result.kld_standard_error = standard_error(kld);
    result.kld_median = quantile(every_kld, 0.5);
    result.kld_99 = quantile(every_kld, 0.99);
    result.kld_max = quantile(every_kld, 1);
    result.same_top = mean(same_top);
    result.same_top_standard_error = standard_error(same_top);
    result.top_shift_mean = mean(top_shift);
    result.top_shift_rms = std::sqrt(mean(top_shift_square));
    return result;
  }
};

}  // namespace

PositionDistance distance_at(std::span<const float> reference, std::span<const float> other,
                             std::int32_t next) {
  const LogSoftmax p(reference), r(other);
  if (std::isnan(p.highest) || std::isnan(r.highest)) {
    constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
    return {kNan, kNan, kNan, kNan, false};
  }
  double kld = 0;
  for (std::size_t v = 0; v < reference.size(); ++v)
    kld += exp_f64(p(reference[v])) * (p(reference[v]) - r(other[v]));
  const auto token = static_cast<std::size_t>(next);
  return {kld, -p(reference[token]), -r(other[token]),
          exp_f64(r(other[p.top])) - exp_f64(p(reference[p.top])), p.top == r.top};
}

Result<Comparison> compare_models(const ComparedModel& reference, const ComparedModel& other,
                                  std::span<const std::int32_t> tokens, std::size_t context,
                                  std::size_t windows, int threads,
                                  const std::function<void(std::size_t done, std::size_t total)>& progress) {
  const std::size_t vocab = reference.config.vocab;
  if (other.config.vocab != vocab)
    return Error{Errc::invalid, "the models have " + std::to_string(vocab) + " and " +
                                    std::to_string(other.config.vocab) +
                                    " tokens: only models of one vocabulary can be compared"};
  DGQ_TRY(const std::size_t total, count_windows(reference.config, tokens, context, windows));
  WindowRunner a(reference.config, reference.weights, reference.decoder, reference.kv, context);
  WindowRunner b(other.config, other.weights, other.decoder, other.kv, context);
  Tally tally(context);
  Distances distances(context - 1);
  for (std::size_t i = 0; i < total; ++i) {
    const auto window = tokens.subspan(i * context, context);
    for (std::size_t first = 0; first < distances.size(); first += WindowRunner::kChunk) {
      const std::size_t count = std::min(WindowRunner::kChunk, distances.size() - first);
      const float *x = a.logits(window, first, count), *y = b.logits(window, first, count);
      parallel_ranges(threads, count, [&](std::size_t begin, std::size_t end, int) {
        for (std::size_t k = begin; k < end; ++k)
          distances[first + k] =
              distance_at({x + k * vocab, vocab}, {y + k * vocab, vocab}, window[first + k + 1]);
      });
    }
    tally.add(distances);
    if (!std::isfinite(tally.kld.back()))
      return Error{Errc::corrupt, "the logits of a model are not finite in window " + std::to_string(i)};
    if (progress) progress(i + 1, total);
  }
  return tally.finish(context);
}

}  // namespace dgq
