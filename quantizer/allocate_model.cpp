#include "quantizer/allocate_model.h"

#include <cstdio>

#include "kernels/packed.h"
#include "quantizer/linear_shapes.h"

namespace dgq {
namespace {

// Embedding, head and norms: what the budget of bytes has to leave for them.
std::uint64_t bytes_beside_linears(const ModelConfig& c, Ends ends) {
  const std::uint64_t end =
      ends == Ends::f32 ? 4 * c.vocab * c.hidden : packed_w8_bytes(c.vocab, c.hidden, false);
  return end * (c.tied_head ? 1 : 2) + 4 * c.hidden * (2 * c.layers + 1);
}

}  // namespace

std::uint64_t budget_of(const AllocateOptions& options, std::uint64_t weights, std::uint64_t beside) {
  std::uint64_t budget = UINT64_MAX;
  if (options.bpw > 0) budget = static_cast<std::uint64_t>(options.bpw * static_cast<double>(weights) / 8);
  if (options.max_bytes > 0)
    budget = std::min<std::uint64_t>(budget, options.max_bytes > beside ? options.max_bytes - beside : 0);
  return budget;
}

Result<void> check_budget(const ModelConfig& config, const AllocateOptions& options, Ends ends) {
  std::uint64_t least = 0;
  for (const LinearShape& shape : linear_shapes(config))
    least += least_linear_bytes(shape.n, shape.k, shape.bias) * config.layers;
  const std::size_t weights = linear_weights(config);
  const std::uint64_t beside = bytes_beside_linears(config, ends);
  if (!options.strict || budget_of(options, weights, beside) >= least) return {};
  char bpw[32];
  std::snprintf(bpw, sizeof bpw, "%.3f", 8.0 * static_cast<double>(least) / static_cast<double>(weights));
  return Error{Errc::invalid, std::string("the budget is too small for this model: it needs at least ") +
                                  bpw + " bits per weight in its linears, " + std::to_string(least + beside) +
                                  " bytes in all"};
}

Result<std::vector<FineFormat>> allocate_model(const Checkpoint& checkpoint, const LayerReader& read_layer,
                                               const Kernels& kernels, const AllocateOptions& options,
                                               Ends ends, const std::vector<Sequence>& sequences, int threads,
                                               const Fraction& progress) {
  DGQ_TRY(const std::vector<LayerSensitivity> sensitivity,
          measure_sensitivity(checkpoint, read_layer, kernels, thin_out(sequences, options.tokens),
                              options.damping, kLabelSeed, threads, progress));
  std::vector<std::vector<Choice>> linears;
  for (std::size_t i = 0; i < sensitivity.size(); ++i) {
    DGQ_TRY(const LayerF32 layer, read_layer(i));
    std::size_t id = 0;
    for (const Linear* linear : linears_of(layer.weights)) {
      const auto& matrix = std::get<F32Matrix>(*linear);
      linears.push_back(choices(matrix, sensitivity[i][id++], threads));
    }
  }
  const ModelConfig& config = checkpoint.config();
  const std::uint64_t budget = budget_of(options, linear_weights(config), bytes_beside_linears(config, ends));
  const std::vector<std::size_t> chosen = allocate(linears, budget);
  std::vector<FineFormat> formats;
  for (std::size_t i = 0; i < linears.size(); ++i) formats.push_back(linears[i][chosen[i]].format);
  return formats;
}

}  // namespace dgq
