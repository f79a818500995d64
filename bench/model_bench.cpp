#include "bench/model_bench.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <random>

#include "bench/memory.h"
#include "bench/statistics.h"
#include "kernels/packed.h"
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

// Of the weights of a linear: its bytes, and multiply-adds of one row.
struct Cost {
  double bytes = 0, macs = 0;
  void add(const Linear& linear) {
    std::visit([&](const auto& w) { bytes += bytes_of(w), macs += static_cast<double>(w.n * w.k); }, linear);
  }

 private:
  template <int kBits>
  static double bytes_of(const FineMatrix<kBits>& w) {
    return static_cast<double>(packed_fine_bytes<kBits>(w.n, w.k, w.group, w.bias != nullptr));
  }
  static double bytes_of(const W8Matrix& w) {
    return static_cast<double>(packed_w8_bytes(w.n, w.k, w.bias != nullptr));
  }
  static double bytes_of(const F32Matrix& w) { return static_cast<double>(w.n * w.k * sizeof(float)); }
};

std::array<const Linear*, 7> linears_of(const LayerWeights& layer) {
  return {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down};
}

const void* first_byte(const Linear& linear) {
  return std::visit(
      [](const auto& w) -> const void* {
        if constexpr (std::is_same_v<std::decay_t<decltype(w)>, F32Matrix>)
          return w.w;
        else
          return w.q;
      },
      linear);
}

// What a repetition of the test takes at least. The cache is left out: its part is small in tests as long as these.
void add_costs(const ModelWeights& weights, ModelBenchRow& row) {
  Cost layers, head;
  for (const LayerWeights& layer : weights.layers)
    for (const Linear* linear : linears_of(layer)) layers.add(*linear);
  head.add(weights.head);
  const auto tokens = static_cast<double>(row.tokens());
  if (row.generate > 0) {
    row.bytes = tokens * (layers.bytes + head.bytes);
    row.macs = tokens * (layers.macs + head.macs);
  } else {
    row.macs = tokens * layers.macs + head.macs;  // logits of the last token only
  }
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

// Limits of each number of threads, on memory of their own.
class AllLimits {
 public:
  explicit AllLimits(std::span<std::byte> memory) : memory_(memory) {
    std::memset(memory.data(), 1, memory.size());
  }
  void measure(const std::string& isa, ModelBenchRow& row) {
    constexpr double kSeconds = 0.03;
    Limits limits(memory_, row.threads, kSeconds);
    row.read_limit = limits.read_now(row.threads);
    row.multiply_add_limit = limits.multiply_adds_now(isa);
    read.insert(read.end(), limits.read().begin(), limits.read().end());
    multiply_adds.insert(multiply_adds.end(), limits.multiply_adds().begin(), limits.multiply_adds().end());
  }
  std::vector<ReadLimit> read;
  std::vector<MultiplyAddLimit> multiply_adds;

 private:
  std::span<std::byte> memory_;
};

}  // namespace

std::string ModelBenchRow::test() const {
  return prompt > 0 ? "pp" + std::to_string(prompt) : "tg" + std::to_string(generate);
}

std::size_t parameters_of(const ModelWeights& weights) {
  Cost all;
  for (const LayerWeights& layer : weights.layers)
    for (const Linear* linear : linears_of(layer)) all.add(*linear);
  all.add(weights.embedding);
  if (first_byte(weights.head) != first_byte(weights.embedding)) all.add(weights.head);
  return static_cast<std::size_t>(all.macs);
}

Result<void> check_model_bench(const ModelConfig& config, const ModelBenchOptions& options) {
  if (options.prompt == 0 && options.generate == 0)
    return Error{Errc::invalid, "there is nothing to do: no prompt and no tokens to generate"};
  if (options.repetitions < 1 || options.threads.empty())
    return Error{Errc::invalid, "repetitions and threads must be at least 1"};
  DGQ_CHECK(check_context(config, std::max(options.prompt, options.generate)));
  return {};
}

Result<ModelBenchReport> bench_model(const BenchedModel& model, const ModelBenchOptions& options,
                                     const Kernels& kernels, EnergyMeter* energy, const Progress& progress) {
  const ModelConfig& config = model.config;
  DGQ_CHECK(check_model_bench(config, options));
  DGQ_TRY(const std::size_t context, check_context(config, std::max(options.prompt, options.generate)));
  DGQ_CHECK(check_memory(model.name, options.cold_bytes + working_bytes(config, options, context)));
  DGQ_TRY(const Pages pages, Pages::map(options.cold_bytes));
  AllLimits limits(pages.bytes());

  ModelBenchReport report;
  const auto add_row = [&](int threads, std::size_t prompt, std::size_t generate) {
    if (prompt + generate == 0) return;
    ModelBenchRow row;
    row.threads = threads, row.prompt = prompt, row.generate = generate;
    add_costs(model.weights, row);
    report.rows.push_back(std::move(row));
  };
  for (const int threads : options.threads) {
    add_row(threads, options.prompt, 0);
    add_row(threads, 0, options.generate);
  }
  std::mt19937 random(1);
  std::vector<std::int32_t> tokens(context);
  for (std::int32_t& token : tokens) token = static_cast<std::int32_t>(random() % config.vocab);
  const std::size_t runs = report.rows.size() * static_cast<std::size_t>(options.repetitions + 1);
  std::size_t done = 0;
  for (ModelBenchRow& row : report.rows) {
    Decoder decoder(config, kernels, row.threads, options.act_block);
    Session session(config, model.weights, decoder, context, options.kv);
    limits.measure(kernels.isa, row);
    const auto test_tokens = std::span(tokens).first(row.tokens());
    double before = 0;
    for (int run = 0; run <= options.repetitions; ++run, ++done) {  // the first warms up
      progress(row.test() + ", " + std::to_string(row.threads) + " thread(s)",
               static_cast<double>(done) / static_cast<double>(runs));
      if (options.turn && run > 0) DGQ_CHECK(run_once(session, row.prompt, test_tokens));
      DGQ_TRY(const double seconds, run_once(session, row.prompt, test_tokens));
      if (energy && !options.turn) {  // others take energy as well
        const double now = energy->joules();
        if (run == 0) before = now;
        row.joules = now - before;
      }
      if (run == 0) continue;
      row.tokens_per_s.push_back(static_cast<double>(row.tokens()) / seconds);
      if (options.turn) options.turn(row);
    }
  }
  report.read = std::move(limits.read);
  report.multiply_adds = std::move(limits.multiply_adds);
  return report;
}

}  // namespace dgq::bench
