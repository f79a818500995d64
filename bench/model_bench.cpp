#include "bench/model_bench.h"

#include <algorithm>
#include <chrono>
#include <random>

#include "runtime/session.h"

namespace dgq::bench {
namespace {

// What a run needs besides weights, roughly: the cache, logits, and scratch for the rows that a session takes at once.
std::size_t working_bytes(const ModelConfig& c, const ModelBenchOptions& options, std::size_t context) {
  constexpr std::size_t kRows = 512;
  const std::size_t q = c.heads * c.head_dim;
  const std::size_t kv_row =
      options.kv == KvType::f32 ? c.head_dim * sizeof(float) : c.head_dim + sizeof(float);
  return 2 * c.layers * c.kv_heads * context * kv_row + c.vocab * sizeof(float) +
         kRows * sizeof(float) * (8 * c.hidden + 4 * q + 3 * c.ffn);
}

Result<void> check(const ModelBenchOptions& options) {
  if (options.prompt == 0 && options.generate == 0)
    return Error{Errc::invalid, "there is nothing to do: no prompt and no tokens to generate"};
  if (options.repetitions < 1 || options.threads.empty())
    return Error{Errc::invalid, "repetitions and threads must be at least 1"};
  return {};
}

// Runs one test once; seconds.
Result<double> run_once(Session& session, std::size_t prompt, std::span<const std::int32_t> tokens) {
  session.reset();
  const auto start = std::chrono::steady_clock::now();
  if (prompt > 0) {
    DGQ_CHECK(session.append(tokens));
  } else {
    for (const std::int32_t token : tokens) DGQ_CHECK(session.append(token));
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

std::string ModelBenchRow::test() const {
  return prompt > 0 ? "pp" + std::to_string(prompt) : "tg" + std::to_string(generate);
}

Result<ModelBenchReport> bench_model(const Shape& shape, const ModelBenchOptions& options,
                                     const Kernels& kernels, const Progress& progress) {
  DGQ_CHECK(check(options));
  const ModelConfig& config = shape.config;
  DGQ_TRY(const std::size_t context, check_context(config, std::max(options.prompt, options.generate)));
  ModelBenchReport report;
  report.size = synthetic_model_size(config, options.recipe);
  DGQ_CHECK(check_memory(shape.name, report.size.bytes + working_bytes(config, options, context)));
  const int most_threads = *std::max_element(options.threads.begin(), options.threads.end());
  progress("making " + shape.name, 0);
  DGQ_TRY(const SyntheticModel model, SyntheticModel::make(config, options.recipe, most_threads));

  ModelWeights weights = model.weights();
  constexpr float kScale = 0.03f;  // activations are normal, about: few are clipped
  if (options.static_scales)
    for (LayerWeights& layer : weights.layers) layer.input_scale = {kScale, kScale, kScale, 0};

  for (const int threads : options.threads) {
    if (options.prompt > 0) report.rows.push_back({threads, options.prompt, 0, {}});
    if (options.generate > 0) report.rows.push_back({threads, 0, options.generate, {}});
  }
  std::mt19937 random(1);
  std::vector<std::int32_t> tokens(context);
  for (std::int32_t& token : tokens) token = static_cast<std::int32_t>(random() % config.vocab);
  const std::size_t runs = report.rows.size() * static_cast<std::size_t>(options.repetitions + 1);
  std::size_t done = 0;
  for (ModelBenchRow& row : report.rows) {
    Decoder decoder(config, kernels, row.threads, options.act_block);
    Session session(config, weights, decoder, context, options.kv);
    const auto test_tokens = std::span(tokens).first(row.prompt + row.generate);
    for (int run = 0; run <= options.repetitions; ++run, ++done) {  // the first warms up
      progress(row.test() + ", " + std::to_string(row.threads) + " thread(s)",
               static_cast<double>(done) / static_cast<double>(runs));
      DGQ_TRY(const double seconds, run_once(session, row.prompt, test_tokens));
      if (run > 0) row.tokens_per_s.push_back(static_cast<double>(test_tokens.size()) / seconds);
    }
  }
  return report;
}

}  // namespace dgq::bench
