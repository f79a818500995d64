#include "quantizer/quantize.h"

#include <cmath>

#include "base/file.h"
#include "quantizer/calibration.h"
#include "quantizer/pack_layer.h"
#include "quantizer/report.h"

namespace dgq {
namespace {

constexpr std::size_t kMaxCalibrationBytes = 1u << 30;
constexpr double kSamplingShare = 0.4;  // of the job's time, for the progress bar: 0.38 on `eval`

Result<void> check(const QuantizeOptions& o) {
  if (o.group != 32 && o.group != 64 && o.group != 128)
    return Error{Errc::invalid, "--group must be 32, 64 or 128, not " + std::to_string(o.group)};
  if (o.activation_block != kActBlock && o.activation_block != 0)
    return Error{Errc::invalid, "--activation-block must be 128 or row"};
  if (o.calibration_tokens < kMinCalibrationTokens || o.calibration_tokens > kMaxCalibrationTokens)
    return Error{Errc::invalid, "--calibration-tokens must be " + std::to_string(kMinCalibrationTokens) +
                                    " to " + std::to_string(kMaxCalibrationTokens) + ", not " +
                                    std::to_string(o.calibration_tokens)};
  return {};
}

Json search_json() {
  const SearchGrid& grid = kSearchGrid;
  return {{"clips", grid.clips},
          {"clip_step", grid.clip_step},
          {"shifts", grid.shifts},
          {"shift_step", grid.shift_step},
          {"coarse", grid.coarse},
          {"coarse_first", grid.coarse_first},
          {"coarse_step", grid.coarse_step},
          {"sweeps", grid.sweeps}};
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
        {"kind", "sampled"}, {"tokens", options_.calibration_tokens}, {"seed", options_.seed}};
    if (!options_.calibration.empty()) {
      DGQ_TRY(text_, read_file(options_.calibration, kMaxCalibrationBytes));
      calibration = {
          {"kind", "text"}, {"tokens", options_.calibration_tokens}, {"sha256", sha256(text_).hex()}};
    }
    manifest.recipe = {
        {"method", "dgq"}, {"group", options_.group},   {"search", search_json()}, {"embedding", "w8"},
        {"head", "w8"},    {"calibration", calibration}};
    return manifest;
  }

  Result<void> run(Manifest& manifest, Ingest& ingest, std::vector<TensorReport>& reports) {
    DGQ_TRY(const std::vector<Sequence> sequences, calibrate());
    manifest.provenance["calibration"] = sequences_digest(sequences).hex();
    DGQ_TRY(std::vector<float> table, checkpoint_.embedding());
    DGQ_CHECK(embedding(table, manifest, ingest, reports));
    CalibrationRun run(checkpoint_.config(), kernels_, options_.threads, sequences, std::move(table));
    for (std::size_t i = 0; i < checkpoint_.config().layers; ++i)
      DGQ_CHECK(layer(i, run, manifest, ingest, reports));
    DGQ_CHECK(head(manifest, ingest, reports));
    const std::string& tokenizer = checkpoint_.tokenizer_json();
    return store("tokenizer", "tokenizer.json", std::as_bytes(std::span(tokenizer)), manifest, ingest);
  }

 private:
  void say(const std::string& label, double done) const {
    if (progress_) progress_(label, done);
  }

  // Fraction of the job before layer i (+ `done` of it).
  double share(double layers_done) const {
    const double start = text_.empty() ? kSamplingShare : 0;
    return start + (1 - start) * layers_done / static_cast<double>(checkpoint_.config().layers);
  }

  Result<std::vector<Sequence>> calibrate() const {
    const std::size_t tokens = options_.calibration_tokens;
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

  Result<void> embedding(const std::vector<float>& table, Manifest& manifest, Ingest& ingest,
                         std::vector<TensorReport>& reports) const {
    const F32Matrix matrix{checkpoint_.config().vocab, checkpoint_.config().hidden, table.data(), nullptr};
    LayerPacker packer("embedding", reports);
    packer.add_w8("embed_tokens", matrix, round_w8(matrix, options_.threads));
    return store("embedding", "layer", packer.finish(), manifest, ingest);
  }

  Result<void> layer(std::size_t index, CalibrationRun& run, Manifest& manifest, Ingest& ingest,
                     std::vector<TensorReport>& reports) const {
    const std::string name = "layers." + std::to_string(index);
    const double before = static_cast<double>(index);
    say(name, share(before));
    DGQ_TRY(const LayerF32 source, checkpoint_.layer(index));
    const LayerWeights& w = source.weights;
    const LayerStatistics h =
        run.run_layer(w, [&](double done) { say(name + ": calibration", share(before + 0.5 * done)); });
    const struct {
      const char* name;
      const Linear& weights;
      const std::vector<float>& h;
    } linears[] = {{"q_proj", w.q, h.q},         {"k_proj", w.k, h.q},          {"v_proj", w.v, h.q},
                   {"o_proj", w.o, h.o},         {"gate_proj", w.gate, h.gate}, {"up_proj", w.up, h.gate},
                   {"down_proj", w.down, h.down}};
    const std::size_t hidden = checkpoint_.config().hidden;
    LayerPacker packer(name, reports);
    packer.add_norm("input_layernorm", {w.input_norm, hidden});
    packer.add_norm("post_attention_layernorm", {w.post_attention_norm, hidden});
    const std::size_t head_dim = checkpoint_.config().head_dim;
    if (w.q_norm) packer.add_norm("q_norm", {w.q_norm, head_dim});
    if (w.k_norm) packer.add_norm("k_norm", {w.k_norm, head_dim});
    double done = 0;
    for (const auto& linear : linears) {
      say(name + ": " + linear.name, share(before + 0.5 + 0.5 * done++ / std::size(linears)));
      const F32Matrix& matrix = std::get<F32Matrix>(linear.weights);
      const QuantizedLinear best =
          search_w4(*kernels_.gemm_f32, matrix, linear.h, options_.group, options_.threads);
      if (!std::isfinite(best.error))
        return Error{Errc::corrupt,
                     name + "." + linear.name +
                         ": weights or activations leave the range of float32; is the checkpoint intact?"};
      packer.add_w4(linear.name, matrix, options_.group, best);
    }
    return store(name, "layer", packer.finish(), manifest, ingest);
  }

  Result<void> head(Manifest& manifest, Ingest& ingest, std::vector<TensorReport>& reports) const {
    LayerPacker packer("head", reports);
    DGQ_TRY(const std::vector<float> norm, checkpoint_.final_norm());
    packer.add_norm("norm", norm);
    DGQ_TRY(const std::vector<float> weights, checkpoint_.head());
    if (!weights.empty()) {
      const F32Matrix matrix{checkpoint_.config().vocab, checkpoint_.config().hidden, weights.data(),
                             nullptr};
      packer.add_w8("lm_head", matrix, round_w8(matrix, options_.threads));
    }
    return store("head", "layer", packer.finish(), manifest, ingest);
  }

  const Checkpoint& checkpoint_;
  const Tokenizer& tokenizer_;
  const QuantizeOptions& options_;
  const Kernels& kernels_;
  const QuantizeProgress& progress_;
  std::string text_;  // the calibration file
};

// The version that `name` has already, when it came from the same sources, recipe and tool.
bool same_origin(const Manifest& made, const Manifest& plan) {
  const auto part = [](const Manifest& m, const char* key) { return m.provenance.value(key, Json()); };
  return made.recipe == plan.recipe && made.activation_block == plan.activation_block &&
         part(made, "sources") == part(plan, "sources") && part(made, "tool") == part(plan, "tool");
}

Result<QuantizeResult> reuse(VersionInfo there) {
  QuantizeResult result;
  result.version = there.digest;
  result.reused = true;
  DGQ_TRY(result.tensors, report_from_json(there.manifest.report, "version " + there.digest.short_hex()));
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
    if (there && same_origin(there->manifest, result.manifest)) return reuse(std::move(*there));
  }
  DGQ_TRY(Ingest ingest, registry.begin_ingest());
  DGQ_CHECK(job.run(result.manifest, ingest, result.tensors));
  result.manifest.report = to_json(result.tensors);
  DGQ_TRY(result.version, ingest.commit(result.manifest, name, checkpoint.file_digests()));
  return result;
}

}  // namespace dgq
