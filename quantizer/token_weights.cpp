#include "quantizer/token_weights.h"

#include <algorithm>

namespace dgq {
namespace {

constexpr std::size_t kBatch =
    16;  // sequences on their way through the model at a time: bounds the memory for hidden rows

// Sums of squares become weights of mean 1.
void normalise(std::vector<std::vector<float>>& point, double strength, double limit) {
  const auto mean = [&] {
    double sum = 0, count = 0;
    for (const auto& sequence : point) {
      count += static_cast<double>(sequence.size());
      for (const float value : sequence) sum += value;
    }
    return sum / count;
  };
  const auto apply = [&](const auto& change) {
    for (auto& sequence : point)
      for (float& value : sequence) value = static_cast<float>(change(value));
  };
  const double first = mean();
  if (!(first > 0)) return apply([](double) { return 1.0; });
  apply([&](double x) { return 1 - strength + strength * std::min(x / first, limit * limit); });
  const double second = mean();
  apply([&](double x) { return x / second; });
}

}  // namespace

Result<std::vector<LayerTokenWeights>> measure_token_weights(
    const Checkpoint& checkpoint, const LayerReader& read_layer, const Kernels& kernels,
    const std::vector<Sequence>& sequences, double strength, double limit, std::uint64_t seed, int threads,
    const Fraction& progress) {
  std::vector<LayerTokenWeights> all(checkpoint.config().layers);
  for (LayerTokenWeights& layer : all)
    for (auto& point : layer)
      for (const Sequence& sequence : sequences) point.emplace_back(sequence.size());
  for (std::size_t first = 0; first < sequences.size(); first += kBatch) {
    const std::size_t last = std::min(first + kBatch, sequences.size());
    const std::vector<Sequence> batch(sequences.begin() + static_cast<std::ptrdiff_t>(first),
                                      sequences.begin() + static_cast<std::ptrdiff_t>(last));
    LayerTokenWeights* layer = nullptr;
    const BackwardSteps steps{
        [&](std::size_t index, const LayerWeights&) { layer = &all[index]; },
        [&](std::size_t sequence, LinearId id, const std::vector<float>& gradient, const auto&) {
          std::vector<float>& sums = (*layer)[static_cast<std::size_t>(input_of(id))][first + sequence];
          const std::size_t n = gradient.size() / sums.size();
          for (std::size_t i = 0; i < gradient.size(); ++i) sums[i / n] += gradient[i] * gradient[i];
        },
        [](std::size_t) {}};
    DGQ_CHECK(run_backward(checkpoint, read_layer, kernels, batch, seed + first, threads, steps, {}));
    if (progress) progress(static_cast<double>(last) / static_cast<double>(sequences.size()));
  }
  for (LayerTokenWeights& layer : all)
    for (auto& point : layer) normalise(point, strength, limit);
  return all;
}

}  // namespace dgq
