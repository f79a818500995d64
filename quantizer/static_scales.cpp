#include "quantizer/static_scales.h"

#include <algorithm>
#include <cmath>

#include "quantizer/fine_linear.h"
#include "runtime/parallel.h"

namespace dgq {
namespace {

// One layer at a time.
class Measurement {
 public:
  Measurement(const Kernels& kernels, int threads) : kernels_(kernels), threads_(threads) {}

  void begin(const LayerWeights& w) {
    transposed_.clear();
    for (const Linear* linear : linears_of(w)) {
      const auto& matrix = std::get<F32Matrix>(*linear);
      transposed_.push_back({matrix.n, matrix.k, transpose(matrix, threads_)});
    }
    for (Input& input : inputs_) input = {};
  }

  void see(LinearId id, const std::vector<float>& gradient, const std::vector<float>& x) {
    const Transposed& t = transposed_[static_cast<std::size_t>(id)];
    const std::vector<float> by_x =
        multiply(*kernels_.gemm_f32, {t.k, t.n, t.w.data(), nullptr}, gradient, threads_);
    Input& input = inputs_[static_cast<std::size_t>(input_of(id))];
    if (first_reader(id) == id) {
      input.k = t.k;
      input.x.insert(input.x.end(), x.begin(), x.end());
      input.gradient.insert(input.gradient.end(), by_x.begin(), by_x.end());
    } else {
      float* sum = input.gradient.data() + input.gradient.size() - by_x.size();
      for (std::size_t i = 0; i < by_x.size(); ++i) sum[i] += by_x[i];
    }
  }

  LayerStaticScales finish() const {
    LayerStaticScales best;
    std::transform(inputs_.begin(), inputs_.end(), best.begin(),
                   [&](const Input& input) { return cheapest(input); });
    return best;
  }

 private:
  struct Transposed {
    std::size_t n, k;
    std::vector<float> w;  // [k][n]
  };
  struct Input {
    std::size_t k = 1;
    std::vector<float> x, gradient;  // [tokens][k]: the input, and the loss's gradient by it
  };

  double cost(const Input& input, float scale) const {
    const std::size_t tokens = input.x.size() / input.k;
    const float inverse = 1 / scale;
    std::vector<double> of_token(tokens);
    parallel_ranges(threads_, tokens, [&](std::size_t begin, std::size_t end, int) {
      for (std::size_t t = begin; t < end; ++t)
        for (std::size_t i = t * input.k; i < (t + 1) * input.k; ++i) {
          const float q = round_even(clamp_to(input.x[i] * inverse, -kInt8Limit, kInt8Limit));
          const double change = static_cast<double>(input.gradient[i]) * (input.x[i] - q * scale);
          of_token[t] += change * change;
        }
    });
    double sum = 0;
    for (const double value : of_token) sum += value;
    return sum / (2 * static_cast<double>(tokens));
  }

  StaticScale cheapest(const Input& input) const {
    constexpr int kCandidates = 32;
    constexpr float kStep = 0.9f;  // 0.9^31 is 0.04: in `eval` the best is 0.1 to 1 of the largest
    float scale = int8_unit(input.x.data(), input.x.size());
    if (scale == 0) return {0, 0};
    StaticScale best{scale, cost(input, scale)};
    for (int i = 1; i < kCandidates; ++i) {
      scale *= kStep;
      if (const double now = cost(input, scale); now < best.cost) best = {scale, now};
    }
    return best;
  }

  const Kernels& kernels_;
  int threads_;
  std::vector<Transposed> transposed_;  // in the order of LinearId
  std::array<Input, kInputs> inputs_;
};

}  // namespace

Result<std::vector<LayerStaticScales>> measure_static_scales(
    const Checkpoint& checkpoint, const LayerReader& read_layer, const Kernels& kernels,
    const std::vector<Sequence>& sequences, std::uint64_t seed, int threads, const Fraction& progress) {
  Measurement measurement(kernels, threads);
  std::vector<LayerStaticScales> all(checkpoint.config().layers);
  const BackwardSteps steps{[&](std::size_t, const LayerWeights& weights) { measurement.begin(weights); },
                            [&](std::size_t, LinearId id, const auto& gradient, const auto& input) {
                              measurement.see(id, gradient, input);
                            },
                            [&](std::size_t layer) { all[layer] = measurement.finish(); }};
  DGQ_CHECK(run_backward(checkpoint, read_layer, kernels, sequences, seed, threads, steps, progress));
  return all;
}

std::vector<InputScales> choose_static(const std::vector<LayerStaticScales>& layers, double limit) {
  std::vector<std::size_t> order(layers.size() * kInputs);
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  const auto at = [&](std::size_t i) -> const StaticScale& { return layers[i / kInputs][i % kInputs]; };
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return at(a).cost < at(b).cost; });
  std::vector<InputScales> chosen(layers.size(), InputScales{});
  double sum = 0;
  for (const std::size_t i : order) {
    sum += at(i).cost;
    if (sum > limit) break;
    chosen[i / kInputs][i % kInputs] = at(i).scale;
  }
  return chosen;
}

}  // namespace dgq
