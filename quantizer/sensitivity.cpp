#include "quantizer/sensitivity.h"

#include <optional>

#include "quantizer/compensate.h"
#include "quantizer/gram.h"

namespace dgq {
namespace {

// One layer at a time.
class Measurement {
 public:
  Measurement(const Kernels& kernels, double damping, int threads, std::size_t tokens)
      : kernels_(kernels), damping_(damping), threads_(threads), tokens_(static_cast<double>(tokens)) {}

  void begin(const LayerWeights& w) {
    linears_.clear();
    for (std::optional<Gram>& gram : grams_) gram.reset();
    for (const Linear* linear : linears_of(w)) {
      const auto& matrix = std::get<F32Matrix>(*linear);
      const std::size_t id = linears_.size();
      if (reads(id) == id) grams_[id].emplace(kernels_, matrix.k, threads_);
      linears_.push_back({matrix.n, matrix.k, std::vector<double>(matrix.n), {}});
    }
  }

  void see(LinearId linear, const std::vector<float>& gradient, const std::vector<float>& input) {
    const auto id = static_cast<std::size_t>(linear);
    LinearSensitivity& it = linears_[id];
    for (std::size_t i = 0; i < gradient.size(); ++i)
      it.row_fisher[i % it.n] += static_cast<double>(gradient[i]) * gradient[i] / tokens_;
    if (grams_[id]) grams_[id]->add(input.data(), input.size() / it.k);
  }

  LayerSensitivity finish() {
    for (std::size_t id = 0; id < kLinears; ++id)
      linears_[id].column_weight = grams_[id] ? column_weight(id) : linears_[reads(id)].column_weight;
    return std::move(linears_);
  }

 private:
  static std::size_t reads(std::size_t id) {
    return static_cast<std::size_t>(first_reader(static_cast<LinearId>(id)));
  }

  std::vector<double> column_weight(std::size_t id) {
    constexpr std::size_t kGroup = 64;  // only the order of compensation depends on it
    const std::vector<float> h = grams_[id]->finish();
    const ErrorFeedback feedback(h, linears_[id].k, kGroup, damping_, threads_);
    std::vector<double> weight(linears_[id].k);
    for (std::size_t c = 0; c < weight.size(); ++c) weight[feedback.order[c]] = feedback.weight[c] / tokens_;
    return weight;
  }

  const Kernels& kernels_;
  double damping_;
  int threads_;
  double tokens_;
  LayerSensitivity linears_;
  std::array<std::optional<Gram>, kLinears> grams_;  // of the first linear of each input
};

}  // namespace

Result<std::vector<LayerSensitivity>> measure_sensitivity(const Checkpoint& checkpoint,
                                                          const LayerReader& read_layer,
                                                          const Kernels& kernels,
                                                          const std::vector<Sequence>& sequences,
                                                          double damping, std::uint64_t seed, int threads,
                                                          const Fraction& progress) {
  std::size_t tokens = 0;
  for (const Sequence& sequence : sequences) tokens += sequence.size();
  Measurement measurement(kernels, damping, threads, tokens);
  std::vector<LayerSensitivity> all(checkpoint.config().layers);
  const BackwardSteps steps{[&](std::size_t, const LayerWeights& weights) { measurement.begin(weights); },
                            [&](std::size_t, LinearId id, const auto& gradient, const auto& input) {
                              measurement.see(id, gradient, input);
                            },
                            [&](std::size_t layer) { all[layer] = measurement.finish(); }};
  DGQ_CHECK(run_backward(checkpoint, read_layer, kernels, sequences, seed, threads, steps, progress));
  return all;
}

}  // namespace dgq
