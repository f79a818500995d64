#include "quantizer/quantize.h"

#include <cmath>

#include "base/file.h"
#include "quantizer/allocate_model.h"
#include "quantizer/calibration.h"
#include "quantizer/coarse_layer.h"
#include "quantizer/pack_layer.h"
#include "quantizer/quantize_layer.h"
#include "quantizer/report.h"
#include "quantizer/round_w8.h"
#include "quantizer/smooth.h"
#include "quantizer/static_scales.h"
#include "quantizer/token_weights.h"

namespace dgq {
namespace {

constexpr std::size_t kMaxCalibrationBytes = 1u << 30;
constexpr double kSamplingShare = 0.4;  // of the job's time, for the progress bar: 0.38 on `eval`
constexpr double kAllocateShare = 0.1;
constexpr double kInputsShare = 0.5;  // of a layer's time

Result<void> check(const QuantizeOptions& o) {
  if (o.activation_block != kActBlock && o.activation_block != 0)
    return Error{Errc::invalid, "--activation-block must be 128 or row"};
  const std::size_t tokens = o.recipe.calibration_tokens;
  if (tokens < kMinCalibrationTokens || tokens > kMaxCalibrationTokens)
    return Error{Errc::invalid, "--calibration-tokens must be " + std::to_string(kMinCalibrationTokens) +
                                    " to " + std::to_string(kMaxCalibrationTokens) + ", not " +
                                    std::to_string(tokens)};
  return {};
}

// One run of quantize(): what its steps share.
class Job {
 public:
  Job(const Checkpoint& checkpoint, const Tokenizer& tokenizer, const QuantizeOptions& options,
      const Kernels& kernels, const QuantizeProgress& progress)
      : checkpoint_(checkpoint),
        tokenizer_(tokenizer),
        options_(options),
        kernels_(kernels),
        progress_(progress) {}

  // What decides the result, before any work: these are compared when looking for a version to reuse.
  Result<Manifest> plan() {
    Manifest manifest;
    manifest.config = config_to_json(checkpoint_.config());
    manifest.activation_block = options_.activation_block;
    DGQ_TRY(const Digest weights, checkpoint_.weights_digest());
    // What was in the files and not the files: other containers of the same model give the same version.
    manifest.provenance = {{"sources",
                            {{"weights", weights.hex()},
                             {"config", sha256(manifest.config.dump()).hex()},
                             {"tokenizer", sha256(checkpoint_.tokenizer_json()).hex()}}},
                           {"tool", options_.tool}};
    Json calibration = {
        {"kind", "sampled"}, {"tokens", options_.recipe.calibration_tokens}, {"seed", options_.seed}};
    calibrated_ = options_.calibration.empty() ? kSamplingShare : 0;
    if (!options_.calibration.empty()) {
      DGQ_TRY(text_, read_file(options_.calibration, kMaxCalibrationBytes));
      calibration = {
          {"kind", "text"}, {"tokens", options_.recipe.calibration_tokens}, {"sha256", sha256(text_).hex()}};
    }
    manifest.recipe = to_json(options_.recipe);
    manifest.recipe["method"] = "dgq";
    manifest.recipe["calibration"] = calibration;
    return manifest;
  }

  Result<void> run(Manifest& manifest, Ingest& ingest, std::vector<TensorReport>& reports,
                   StageClock& clock) {
    DGQ_TRY(const std::vector<Sequence> sequences, calibrate());
    manifest.provenance["calibration"] = sequences_digest(sequences).hex();
    clock.finish("calibration");
    DGQ_CHECK(smooth(sequences));
    DGQ_TRY(const std::vector<LayerFormats> chosen, formats(sequences));
    DGQ_CHECK(weigh(sequences));
    DGQ_CHECK(fix_scales(sequences));
    clock.finish("whole model");
    DGQ_TRY(CalibrationRun run, start(sequences, manifest, ingest, reports));
    clock.finish("embedding");
    for (std::size_t i = 0; i < checkpoint_.config().layers; ++i) {
      DGQ_CHECK(layer(i, chosen[i], run, manifest, ingest, reports));
      clock.finish("layers." + std::to_string(i));
    }
    DGQ_CHECK(head(manifest, ingest, reports));
    clock.finish("head");
    const std::string& tokenizer = checkpoint_.tokenizer_json();
    return store("tokenizer", "tokenizer.json", std::as_bytes(std::span(tokenizer)), manifest, ingest);
  }

 private:
  void say(const std::string& label, double done) const {
    if (progress_) progress_(label, done);
  }

  // Fraction of the job before layer i (+ `done` of it).
  double share(double layers_done) const {
    const double start = calibrated_ + (options_.recipe.find<AllocateOptions>() ? kAllocateShare : 0);
    return start + (1 - start) * layers_done / static_cast<double>(checkpoint_.config().layers);
  }

  Result<std::vector<Sequence>> calibrate() const {
    const std::size_t tokens = options_.recipe.calibration_tokens;
    if (!options_.calibration.empty())
      return text_calibration(text_, options_.calibration.string(), tokenizer_, checkpoint_.config(), tokens);
    return sample_calibration(checkpoint_, kernels_, tokens, options_.seed, options_.threads,
                              [&](double done) { say("sampling calibration text", kSamplingShare * done); });
  }

  static Result<void> store(const std::string& name, const char* media, std::span<const std::byte> bytes,
                            Manifest& manifest, Ingest& ingest) {
    DGQ_TRY(BlobRef blob, ingest.add_blob(name, media, bytes));
    manifest.blobs.push_back(std::move(blob));
    return {};
  }

  // Embedding or head.
  void pack_end(const F32Matrix& w, const std::string& name, LayerPacker& packer) const {
    if (options_.recipe.ends == Ends::f32) return packer.add(name, PackedTensor::f32(w), {});
    const CoarseLinear rounded = round_w8(w, options_.threads);
    TensorReport report;
    report.error_minmax = report.error = rounded.error;
    packer.add(name, PackedTensor::w8(w, rounded), std::move(report));
  }

  // Stores the embedding, and the run begins with what it makes of the tokens.
  Result<CalibrationRun> start(const std::vector<Sequence>& sequences, Manifest& manifest, Ingest& ingest,
                               std::vector<TensorReport>& reports) const {
    DGQ_TRY(const std::vector<float> table, checkpoint_.embedding());
    const F32Matrix matrix{checkpoint_.config().vocab, checkpoint_.config().hidden, table.data(), nullptr};
    LayerPacker packer("embedding", reports);
    pack_end(matrix, "embed_tokens", packer);
    DGQ_CHECK(store("embedding", "layer", packer.finish(), manifest, ingest));
    return CalibrationRun(checkpoint_.config(), kernels_, {options_.threads, options_.activation_block},
                          sequences, matrix);
  }

  Result<void> smooth(const std::vector<Sequence>& sequences) {
    const SmoothOptions* options = options_.recipe.find<SmoothOptions>();
    if (!options) return {};
    DGQ_TRY(factors_,
            measure_factors(checkpoint_, [this](std::size_t i) { return read_layer(i); }, kernels_,
                            thin_out(sequences, options->tokens), options->percentile, options_.threads, {}));
    return {};
  }

  Result<void> weigh(const std::vector<Sequence>& sequences) {
    const WeighOptions* options = options_.recipe.find<WeighOptions>();
    if (!options) return {};
    DGQ_TRY(token_weights_,
            measure_token_weights(checkpoint_, [this](std::size_t i) { return read_layer(i); }, kernels_,
                                  sequences, options->strength, options->limit, kLabelSeed, options_.threads,
                                  {}));
    return {};
  }

  Result<void> fix_scales(const std::vector<Sequence>& sequences) {
    const StaticOptions* options = options_.recipe.find<StaticOptions>();
    if (!options) return {};
    DGQ_TRY(const std::vector<LayerStaticScales> scales,
            measure_static_scales(checkpoint_, [this](std::size_t i) { return read_layer(i); }, kernels_,
                                  thin_out(sequences, options->tokens), kLabelSeed, options_.threads, {}));
    input_scales_ = choose_static(scales, options->limit);
    return {};
  }

  // Of the checkpoint, smoothed and with static scales if the recipe says so.
  Result<LayerF32> read_layer(std::size_t index) const {
    DGQ_TRY(LayerF32 layer, checkpoint_.layer(index));
    if (!factors_.empty()) apply(factors_[index], checkpoint_.config(), layer);
    if (!input_scales_.empty()) layer.weights.input_scale = input_scales_[index];
    return layer;
  }

  Result<std::vector<LayerFormats>> formats(const std::vector<Sequence>& sequences) const {
    LayerFormats same;
    same.fill(options_.recipe.format);
    std::vector<LayerFormats> all(checkpoint_.config().layers, same);
    const AllocateOptions* options = options_.recipe.find<AllocateOptions>();
    if (!options) return all;
    DGQ_TRY(const auto chosen,
            allocate_model(
                checkpoint_, [this](std::size_t i) { return read_layer(i); }, kernels_, *options,
                options_.recipe.ends, sequences, options_.threads,
                [&](double done) { say("sensitivities", calibrated_ + kAllocateShare * done); }));
    for (std::size_t i = 0; i < all.size(); ++i) std::copy_n(&chosen[i * kLinears], kLinears, all[i].begin());
    return all;
  }

  Result<void> layer(std::size_t index, const LayerFormats& formats, CalibrationRun& run, Manifest& manifest,
                     Ingest& ingest, std::vector<TensorReport>& reports) const {
    const std::string name = "layers." + std::to_string(index);
    const auto at = [&](double done) { return share(static_cast<double>(index) + done); };
    DGQ_TRY(const LayerF32 source, read_layer(index));
    const LayerInputs inputs =
        run.collect(CoarseLayer(checkpoint_.config(), source.weights, options_.threads).weights(),
                    token_weights_.empty() ? nullptr : &token_weights_[index],
                    [&](double done) { say(name + ": inputs", at(kInputsShare * done)); });
    LayerPacker packer(name, reports);
    DGQ_CHECK(quantize_layer(checkpoint_.config(), source.weights, formats, inputs, options_.recipe,
                             *kernels_.gemm_f32, options_.threads, packer,
                             [&](const char* linear, double done) {
                               say(name + ": " + linear, at(kInputsShare + (1 - kInputsShare) * done));
                             }));
    return store(name, "layer", packer.finish(), manifest, ingest);
  }

  Result<void> head(Manifest& manifest, Ingest& ingest, std::vector<TensorReport>& reports) const {
    LayerPacker packer("head", reports);
    DGQ_TRY(const std::vector<float> norm, checkpoint_.final_norm());
    packer.add_norm("norm", norm);
    DGQ_TRY(const std::vector<float> weights, checkpoint_.head());
    if (!weights.empty())
      pack_end({checkpoint_.config().vocab, checkpoint_.config().hidden, weights.data(), nullptr}, "lm_head",
               packer);
    return store("head", "layer", packer.finish(), manifest, ingest);
  }

  const Checkpoint& checkpoint_;
  const Tokenizer& tokenizer_;
  const QuantizeOptions& options_;
  const Kernels& kernels_;
  const QuantizeProgress& progress_;
  std::string text_;                              // the calibration file
  std::vector<LayerTokenWeights> token_weights_;  // of the pass `weigh-tokens`
  std::vector<LayerFactors> factors_;             // of the pass `smooth`
  std::vector<InputScales> input_scales_;         // of the pass `static-activations`
  double calibrated_ = 0;  // share of the job that is done when the calibration text is there
};

// The version that `name` has already, when it came from the same sources, recipe and tool.
bool same_origin(const Manifest& made, const Manifest& plan) {
  const auto part = [](const Manifest& m, const char* key) { return m.provenance.value(key, Json()); };
  return made.recipe == plan.recipe && made.activation_block == plan.activation_block &&
         part(made, "sources") == part(plan, "sources") && part(made, "tool") == part(plan, "tool");
}

Result<QuantizeResult> reuse(Registry& registry, VersionInfo there) {
  const std::string where = "version " + there.digest.short_hex();
  QuantizeResult result;
  result.version = there.digest;
  result.reused = true;
  DGQ_TRY(result.tensors, report_from_json(there.manifest.report, where));
  DGQ_TRY(const std::string costs, registry.costs(there.digest));
  DGQ_TRY(result.costs, parse_costs(costs, "costs of " + where));
  result.manifest = std::move(there.manifest);
  return result;
}

// The tokenizer is stored as it is, so it has to be one that the runtime will read, with ids that the model knows.
Result<Tokenizer> check_tokenizer(const Checkpoint& checkpoint) {
  const std::string& where = checkpoint.tokenizer_where();
  DGQ_TRY(Tokenizer tokenizer, Tokenizer::parse(checkpoint.tokenizer_json(), where));
  if (tokenizer.vocabulary_size() > checkpoint.config().vocab)
    return Error{Errc::corrupt, where + " has ids up to " + std::to_string(tokenizer.vocabulary_size() - 1) +
                                    ", but the model's vocabulary has " +
                                    std::to_string(checkpoint.config().vocab)};
  return tokenizer;
}

}  // namespace

Result<QuantizeResult> quantize(const Checkpoint& checkpoint, Registry& registry, const ModelRef& name,
                                const QuantizeOptions& options, const Kernels& kernels,
                                const QuantizeProgress& progress) {
  DGQ_CHECK(check(options));
  DGQ_TRY(const Tokenizer tokenizer, check_tokenizer(checkpoint));
  Job job(checkpoint, tokenizer, options, kernels, progress);
  QuantizeResult result;
  DGQ_TRY(result.manifest, job.plan());
  if (!options.force) {
    Result<VersionInfo> there = registry.resolve(name.text());
    if (!there && there.error().code != Errc::not_found) return there.error();
    if (there && same_origin(there->manifest, result.manifest)) return reuse(registry, std::move(*there));
  }
  DGQ_TRY(Ingest ingest, registry.begin_ingest());
  StageClock clock;
  DGQ_CHECK(job.run(result.manifest, ingest, result.tensors, clock));
  result.costs = clock.costs();
  result.manifest.report = to_json(result.tensors);
  DGQ_TRY(result.version,
          ingest.commit(result.manifest, name, checkpoint.file_digests(), to_json(result.costs).dump()));
  return result;
}

}  // namespace dgq
