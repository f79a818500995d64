#include "quantizer/forecast_time.h"

#include <algorithm>
#include <chrono>

#include "quantizer/allocate_model.h"
#include "quantizer/coarse_layer.h"
#include "quantizer/linear_passes.h"
#include "quantizer/quadratic_form.h"
#include "quantizer/smooth.h"
#include "runtime/sampler.h"

namespace dgq {
namespace {

constexpr std::size_t kRows = kJudgedRows;  // of each linear that are quantized

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

template <class Body>
double seconds_of(const Body& body) {
  const double start = now();
  body();
  return now() - start;
}

std::size_t tokens_of(const std::vector<Sequence>& sequences) {
  std::size_t tokens = 0;
  for (const Sequence& sequence : sequences) tokens += sequence.size();
  return tokens;
}

// The rates of one layer, measured one after the other.
class Measurement {
 public:
  Measurement(const Checkpoint& checkpoint, const QuantizeOptions& options, const Kernels& kernels,
              const MemoryPlan& memory, const std::vector<Sequence>& sample)
      : checkpoint_(checkpoint),
        config_(checkpoint.config()),
        one_layer_(checkpoint.first_layers(1)),
        options_(options),
        kernels_(kernels),
        memory_(memory),
        sample_(sample),
        layers_(static_cast<double>(config_.layers)),
        tokens_(static_cast<double>(options.recipe.calibration_tokens)) {}

  Result<double> seconds() {
    DGQ_CHECK(read());
    DGQ_CHECK(collect());
    for (const auto& step : {&Measurement::quantize, &Measurement::sample, &Measurement::smooth,
                             &Measurement::sensitivities, &Measurement::ends})
      DGQ_CHECK((this->*step)());
    return total_;
  }

 private:
  // The checkpoint is read and hashed, its files too; then each layer is read when its turn comes.
  Result<void> read() {
    Result<LayerF32> layer = Error{Errc::invalid, {}};
    read_ = seconds_of([&] { layer = checkpoint_.layer(0); });
    DGQ_TRY(layer_, std::move(layer));
    std::size_t bytes = 0;
    const double hashing = seconds_of([&] {
      for (const std::vector<float>& tensor : layer_.storage) {
        static_cast<void>(sha256(std::as_bytes(std::span(tensor))));
        bytes += tensor.size() * sizeof(float);
      }
    });
    const double share_of_ends =
        static_cast<double>((config_.tied_head ? 1 : 2) * config_.vocab * config_.hidden * sizeof(float)) /
        static_cast<double>(bytes);
    // Digests of values in float32, and of files, which have half as many bytes.
    total_ += (layers_ + share_of_ends) * (read_ + (checkpoint_.synthetic() ? 1 : 1.5) * hashing);
    return {};
  }

  Result<void> collect() {
    std::optional<CoarseLayer> coarse;
    coarse_ = seconds_of([&] { coarse.emplace(config_, layer_.weights, options_.threads); });
    DGQ_TRY(const std::vector<float> table, checkpoint_.embedding());
    const F32Matrix embedding{config_.vocab, config_.hidden, table.data(), nullptr};
    DGQ_TRY(CalibrationRun run,
            CalibrationRun::start(config_, kernels_, {options_.threads, options_.activation_block, {}},
                                  sample_, embedding));
    Result<LayerInputs> inputs = Error{Errc::invalid, {}};
    const double took = seconds_of([&] { inputs = run.collect(coarse->weights(), nullptr, {}); });
    DGQ_TRY(inputs_, std::move(inputs));
    total_ += layers_ * (read_ + coarse_ + took * tokens_ / static_cast<double>(tokens_of(sample_)));
    return {};
  }

  // Some rows of every linear: the first time what depends on the inputs only is made, too. Errors are measured on no more rows
  // than these.
  Result<void> quantize() {
    const auto linears = linears_of(layer_.weights);
    std::optional<LinearPasses> passes;
    const bool mixed = options_.recipe.find<AllocateOptions>() != nullptr;
    for (std::size_t i = 0; i < kLinears; ++i) {
      F32Matrix w = std::get<F32Matrix>(*linears[i]);
      const double all = static_cast<double>(w.n);
      w.n = std::min(w.n, kRows);
      const auto id = static_cast<LinearId>(i);
      const LinearInputs& inputs = inputs_[static_cast<std::size_t>(input_of(id))];
      std::size_t judgements = 0;
      const auto once = [&] {
        return seconds_of(
            [&] { judgements = 2 + passes->run(w, options_.recipe.format).report.passes.size(); });
      };
      const bool first = first_reader(id) == id;
      double fresh = 0;
      if (first) {
        passes.emplace(options_.recipe, *kernels_.gemm_f32, inputs, options_.threads);
        fresh = once();
      }
      const double took = once();
      const double judging = std::min(
          took, static_cast<double>(judgements) * seconds_of([&] {
                  static_cast<void>(output_energy(*kernels_.gemm_f32, w, inputs.h, options_.threads));
                }));
      if (first) {
        const double feedback = std::max(0.0, fresh - took);
        feedback_ += feedback;
        total_ += layers_ * feedback * (mixed ? kGroupSizes[i] : 1);
      }
      total_ += layers_ * (judging + (took - judging) * all / static_cast<double>(w.n));
    }
    return {};
  }

  // One step of one layer at half the length, and one of the head.
  Result<void> sample() {
    if (!options_.calibration.empty() || checkpoint_.synthetic()) return {};
    ModelConfig one = config_;
    one.layers = 1;
    const std::size_t length = sequence_length(config_), wanted = options_.recipe.calibration_tokens,
                      count = (wanted + length - 1) / length,
                      at_once = sampled_at_once(config_, wanted, memory_.sampling);
    DGQ_TRY(std::vector<float> table, checkpoint_.head());
    if (table.empty()) {
      DGQ_TRY(table, checkpoint_.embedding());
    }
    const F32Matrix head{config_.vocab, config_.hidden, table.data(), nullptr};
    std::vector<KvCache> caches;
    std::vector<Row> rows;
    for (std::size_t i = 0; i < at_once; ++i) caches.emplace_back(one, length, KvType::f32);
    for (KvCache& cache : caches) rows.push_back({&cache, length / 2});
    Decoder decoder(one, kernels_, options_.threads);
    const CoarseLayer coarse(config_, layer_.weights, options_.threads);
    std::vector<float> hidden(at_once * config_.hidden, 1), logits(at_once * config_.vocab);
    const auto layer = [&] { decoder.run_layer(0, coarse.weights(), rows, hidden.data()); };
    layer();
    const double of_layer = seconds_of(layer);
    const double of_head = seconds_of(
        [&] { decoder.run_head(layer_.weights.input_norm, head, hidden.data(), at_once, logits.data()); });
    SamplerOptions sampling;
    sampling.temperature = 1;
    Sampler sampler(sampling);
    const double of_token = seconds_of([&] {
      static_cast<void>(sampler.sample({logits.data(), config_.vocab}, {}));
    });
    const double kept =
        std::min(layers_, static_cast<double>(memory_.sampling / 2) / static_cast<double>(coarse.bytes()));
    const double step = layers_ * of_layer + (layers_ - kept) * (read_ + coarse_) + of_head +
                        of_token * static_cast<double>(at_once) / options_.threads;
    total_ += step * static_cast<double>(length) * static_cast<double>(count) / static_cast<double>(at_once);
    return {};
  }

  std::vector<Sequence> one_sequence() const { return {sample_.front()}; }
  double sequence_tokens() const { return static_cast<double>(sample_.front().size()); }

  // Runs of `wanted` tokens of the calibration text, as shares of one sequence.
  double sequences(std::size_t wanted) const {
    return static_cast<double>(std::min(wanted, options_.recipe.calibration_tokens)) / sequence_tokens();
  }

  Result<void> smooth() {
    const auto* pass = options_.recipe.find<SmoothOptions>();
    if (!pass) return {};
    double begun = 0, took = 0;
    const auto reader = [&](std::size_t i) {
      begun = now();
      return checkpoint_.layer(i);
    };
    DGQ_CHECK(measure_factors(one_layer_, reader, kernels_, one_sequence(), pass->percentile,
                              options_.threads, [&](double) { took = now() - begun; }));
    total_ += layers_ * (read_ + std::max(0.0, took - read_) * sequences(pass->tokens));
    return {};
  }

  // The steps of `allocate`, by the times at which it asks for the layer and reports progress.
  Result<void> sensitivities() {
    const auto* pass = options_.recipe.find<AllocateOptions>();
    const auto* weigh = options_.recipe.find<WeighOptions>();
    const auto* fix = options_.recipe.find<StaticOptions>();
    if (!pass && !weigh && !fix) return {};
    std::vector<double> asked, reported;
    const auto reader = [&](std::size_t i) {
      asked.push_back(now());
      return checkpoint_.layer(i);
    };
    const AllocateOptions options = pass ? *pass : AllocateOptions{};
    DGQ_CHECK(allocate_model(one_layer_, reader, kernels_, options, options_.recipe.ends, one_sequence(),
                             options_.threads, [&](double) { reported.push_back(now()); }));
    const double end = now();
    const double forward = std::max(0.0, reported[0] - asked[0] - read_), head = asked[1] - reported[0],
                 backward = std::max(0.0, reported[1] - asked[1] - read_ - feedback_),
                 choices = end - asked[2];
    if (pass)
      total_ += sequences(pass->tokens) * (layers_ * (forward + backward) + head) +
                layers_ * (2 * read_ + feedback_ + choices);
    const auto there_and_back = [&](std::size_t wanted) {
      return sequences(wanted) * (layers_ * (forward + backward) + head);
    };
    if (weigh) total_ += there_and_back(options_.recipe.calibration_tokens);
    if (fix) total_ += there_and_back(fix->tokens);
    return {};
  }

  // Embedding and head are rounded once each, as linears of a layer are for the calibration.
  Result<void> ends() {
    const double weights = static_cast<double>((config_.tied_head ? 1 : 2) * config_.vocab * config_.hidden);
    double of_layer = 0;
    for (const Linear* linear : linears_of(layer_.weights)) {
      const auto& w = std::get<F32Matrix>(*linear);
      of_layer += static_cast<double>(w.n * w.k);
    }
    total_ += 2 * (read_ + coarse_) * weights / of_layer;
    return {};
  }

  // How many different groups allocate gives the linears of an input: as on `eval`.
  static constexpr double kGroupSizes[kLinears] = {2, 0, 0, 1, 1.5, 0, 1};

  const Checkpoint& checkpoint_;
  const ModelConfig& config_;
  const Checkpoint one_layer_;
  const QuantizeOptions& options_;
  const Kernels& kernels_;
  const MemoryPlan& memory_;
  const std::vector<Sequence>& sample_;
  const double layers_, tokens_;
  LayerF32 layer_;
  LayerInputs inputs_;
  double read_ = 0, coarse_ = 0, feedback_ = 0, total_ = 0;
};

}  // namespace

Result<double> forecast_seconds(const Checkpoint& checkpoint, const QuantizeOptions& options,
                                const Kernels& kernels, const MemoryPlan& memory,
                                const std::vector<Sequence>& sample) {
  return Measurement(checkpoint, options, kernels, memory, sample).seconds();
}

}  // namespace dgq
