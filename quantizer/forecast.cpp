#include "quantizer/forecast.h"

#include "base/file.h"
#include "kernels/packed.h"
#include "quantizer/allocate_model.h"
#include "quantizer/forecast_time.h"
#include "quantizer/linear_shapes.h"

namespace dgq {
namespace {

constexpr std::size_t kSampleTokens = 8192;

std::uint64_t linears_bytes(const ModelConfig& c, const FineFormat& format) {
  std::uint64_t bytes = 0;
  for (const LinearShape& shape : linear_shapes(c))
    bytes += linear_bytes(shape.n, shape.k, shape.bias, format);
  return bytes * c.layers;
}

std::uint64_t allocated_bytes(const ModelConfig& c, const AllocateOptions& o, std::uint64_t beside) {
  return std::clamp(budget_of(o, linear_weights(c), beside), linears_bytes(c, {128, 4}),
                    linears_bytes(c, {0, 8}));
}

}  // namespace

std::uint64_t expected_blob_bytes(const ModelConfig& c, const Recipe& recipe) {
  constexpr std::uint64_t kTableRow = 96;  // docs/FORMAT.md, 1
  const std::uint64_t end = recipe.ends == Ends::f32 ? sizeof(float) * c.vocab * c.hidden
                                                     : packed_w8_bytes(c.vocab, c.hidden, false);
  const std::uint64_t norms = sizeof(float) *
                              (c.hidden * (2 * c.layers + 1) + (c.qk_norm ? 2 * c.head_dim * c.layers : 0)),
                      tables = c.layers * (64 + round_up((kLinears + (c.qk_norm ? 4 : 2)) * kTableRow, 64)),
                      beside = end * (c.tied_head ? 1 : 2) + norms + tables + 2 * (64 + 2 * kTableRow);
  const auto* allocate = recipe.find<AllocateOptions>();
  return beside + (allocate ? allocated_bytes(c, *allocate, beside) : linears_bytes(c, recipe.format));
}

Result<Forecast> forecast(const Checkpoint& checkpoint, const QuantizeOptions& options,
                          const Kernels& kernels) {
  DGQ_TRY(const Tokenizer tokenizer, check_job(checkpoint, options));
  const ModelConfig& config = checkpoint.config();
  const bool text = !options.calibration.empty(), samples = !text && !checkpoint.synthetic();
  std::vector<Sequence> sample = random_calibration(config, kSampleTokens, 1);
  if (text) {
    DGQ_TRY(const std::string read, read_calibration(options));
    DGQ_TRY(sample, text_calibration(read, options.calibration.string(), tokenizer, config, kSampleTokens));
  }
  DGQ_TRY(const MemoryPlan memory, plan_memory(config, options.recipe, samples, options.max_memory));
  DGQ_TRY(const double seconds, forecast_seconds(checkpoint, options, kernels, memory, sample));
  const std::uint64_t blobs = expected_blob_bytes(config, options.recipe) +
                              checkpoint.tokenizer_json().size() + checkpoint.chat_template().size();
  // The blobs twice: in the work folder, and as chunks of the registry, which zstd makes as much smaller as SQLite's pages add;
  // and the tables of the registry.
  constexpr std::uint64_t kEmptyRegistry = 17 * 65536;
  const std::uint64_t disk =
      2 * blobs + kEmptyRegistry + memory.spilled + sizeof(std::int32_t) * options.recipe.calibration_tokens;
  return Forecast{memory.peak, disk, blobs, seconds, memory.spill};
}

}  // namespace dgq
