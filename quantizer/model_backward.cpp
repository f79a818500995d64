#include "quantizer/model_backward.h"

#include "runtime/math.h"
#include "runtime/sampler.h"

namespace dgq {
namespace {

using Rows = std::vector<float>;  // [tokens][width]

// The gradient of -log p(label) by the logits of one position, in place; the label is drawn from p.
void label_gradient(float* logits, std::size_t vocab, double draw) {
  double highest = logits[0], sum = 0;
  for (std::size_t v = 1; v < vocab; ++v) highest = std::max<double>(highest, logits[v]);
  for (std::size_t v = 0; v < vocab; ++v) {
    logits[v] = exp_f32(static_cast<float>(logits[v] - highest));
    sum += logits[v];
  }
  double left = draw * sum;
  std::size_t label = 0;
  for (; label + 1 < vocab; ++label) {
    left -= logits[label];
    if (left < 0) break;
  }
  const auto scale = static_cast<float>(1 / sum);
  for (std::size_t v = 0; v < vocab; ++v) logits[v] *= scale;
  logits[label] -= 1;
}

class Run {
 public:
  Run(const Checkpoint& checkpoint, const LayerReader& read_layer, const Kernels& kernels, int threads)
      : checkpoint_(checkpoint),
        read_layer_(read_layer),
        config_(checkpoint.config()),
        kernels_(kernels),
        threads_(threads) {}

  // The hidden rows of every sequence before each layer and after the last: [layers + 1][sequences].
  Result<std::vector<std::vector<Rows>>> forward(const std::vector<Sequence>& sequences,
                                                 const Fraction& progress) const {
    DGQ_TRY(const std::vector<float> table, checkpoint_.embedding());
    std::vector<std::vector<Rows>> hidden(config_.layers + 1);
    for (const Sequence& sequence : sequences) {
      Rows rows;
      for (const std::int32_t token : sequence) {
        const float* row = table.data() + static_cast<std::size_t>(token) * config_.hidden;
        rows.insert(rows.end(), row, row + config_.hidden);
      }
      hidden[0].push_back(std::move(rows));
    }
    for (std::size_t i = 0; i < config_.layers; ++i) {
      DGQ_TRY(const LayerF32 layer, read_layer_(i));
      LayerBackward graph(config_, kernels_, threads_, layer.weights);
      for (const Rows& rows : hidden[i]) hidden[i + 1].push_back(graph.forward(rows).output);
      if (progress) progress(0.3 * static_cast<double>(i + 1) / static_cast<double>(config_.layers));
    }
    return hidden;
  }

  // By the hidden rows after the last layer.
  Result<std::vector<Rows>> head_gradients(const std::vector<Rows>& last, std::uint64_t seed) const {
    DGQ_TRY(const std::vector<float> norm, checkpoint_.final_norm());
    DGQ_TRY(std::vector<float> head, checkpoint_.head());
    if (head.empty()) {
      DGQ_TRY(head, checkpoint_.embedding());
    }
    const std::size_t width = config_.hidden;
    const F32Matrix matrix{config_.vocab, width, head.data(), nullptr};
    const std::vector<float> columns = transpose(matrix, threads_);
    SplitMix64 random(seed);
    std::vector<Rows> gradients;
    for (const Rows& rows : last) {
      Rows normed(rows.size()), gradient(rows.size());
      for (std::size_t i = 0; i < rows.size(); i += width)
        kernels_.float_ops->run->rms_norm(rows.data() + i, norm.data(), width,
                                          static_cast<float>(config_.rms_eps), normed.data() + i);
      Rows logits = multiply(*kernels_.gemm_f32, matrix, normed, threads_);
      for (std::size_t i = 0; i < logits.size(); i += config_.vocab)
        label_gradient(logits.data() + i, config_.vocab, random.next_unit());
      const Rows by_normed =
          multiply(*kernels_.gemm_f32, {width, config_.vocab, columns.data(), nullptr}, logits, threads_);
      for (std::size_t i = 0; i < rows.size(); i += width)
        rms_norm_backward(rows.data() + i, norm.data(), by_normed.data() + i, width, config_.rms_eps,
                          gradient.data() + i);
      gradients.push_back(std::move(gradient));
    }
    return gradients;
  }

  // Gradients by the layer's outputs become those by its inputs.
  Result<void> layer(std::size_t index, const std::vector<Rows>& inputs, std::vector<Rows>& gradients,
                     const BackwardSteps& steps) const {
    DGQ_TRY(const LayerF32 source, read_layer_(index));
    LayerBackward graph(config_, kernels_, threads_, source.weights);
    steps.begin_layer(index, source.weights);
    for (std::size_t s = 0; s < inputs.size(); ++s)
      graph.backward(
          graph.forward(inputs[s]), gradients[s],
          [&](LinearId id, const Rows& gradient, const Rows& input) { steps.see(s, id, gradient, input); });
    steps.end_layer(index);
    return {};
  }

 private:
  const Checkpoint& checkpoint_;
  const LayerReader& read_layer_;
  const ModelConfig& config_;
  const Kernels& kernels_;
  int threads_;
};

}  // namespace

Result<void> run_backward(const Checkpoint& checkpoint, const LayerReader& read_layer, const Kernels& kernels,
                          const std::vector<Sequence>& sequences, std::uint64_t seed, int threads,
                          const BackwardSteps& steps, const Fraction& progress) {
  const Run run(checkpoint, read_layer, kernels, threads);
  DGQ_TRY(const auto hidden, run.forward(sequences, progress));
  DGQ_TRY(std::vector<Rows> gradients, run.head_gradients(hidden.back(), seed));
  const std::size_t layers = checkpoint.config().layers;
  for (std::size_t i = layers; i-- > 0;) {
    DGQ_CHECK(run.layer(i, hidden[i], gradients, steps));
    if (progress) progress(1 - 0.7 * static_cast<double>(i) / static_cast<double>(layers));
  }
  return {};
}

}  // namespace dgq
