#include "quantizer/quantize.h"

#include "base/file.h"
#include "quantizer/allocate_model.h"
#include "quantizer/memory_plan.h"
#include "quantizer/run_job.h"
#include "quantizer/work_folder.h"
#include "runtime/chat_template.h"

namespace dgq {
namespace {

constexpr std::size_t kMaxCalibrationBytes = 1u << 30;
// The plan's share of the job's time, for the progress bar, when the model samples its calibration text and when not: as on
// `eval`.
constexpr double kPlanShareSampled = 0.5, kPlanShare = 0.15;

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

// One run of quantize() or quantize_part().
class Job {
 public:
  Job(const Checkpoint& checkpoint, const QuantizeOptions& options, const Kernels& kernels,
      const QuantizeProgress& progress, const Note& note)
      : checkpoint_(checkpoint), options_(options), kernels_(kernels), progress_(progress), note_(note) {}

  // What decides the result, before any work: these are compared when looking for a version to reuse or work to go on with.
  Result<Manifest> describe() {
    DGQ_CHECK(check_job(checkpoint_, options_));
    DGQ_TRY(memory_, plan_memory(checkpoint_.config(), options_.recipe, samples(), options_.max_memory));
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
    if (!checkpoint_.chat_template().empty())
      manifest.provenance["sources"][kChatTemplateBlob] = sha256(checkpoint_.chat_template()).hex();
    Json calibration = {{"kind", checkpoint_.synthetic() ? "random" : "sampled"},
                        {"tokens", options_.recipe.calibration_tokens},
                        {"seed", options_.seed}};
    if (!options_.calibration.empty()) {
      DGQ_TRY(text_, read_calibration(options_));
      calibration = {
          {"kind", "text"}, {"tokens", options_.recipe.calibration_tokens}, {"sha256", sha256(text_).hex()}};
    }
    manifest.recipe = to_json(options_.recipe);
    manifest.recipe["method"] = "dgq";
    manifest.recipe["calibration"] = calibration;
    return manifest;
  }

  // Precondition: describe() made the folder's job.
  Result<void> make(const Part& part, WorkFolder& folder) {
    DGQ_TRY(const ModelPlan plan, find_or_make_plan(folder));
    const MakeOptions options{options_.recipe,           kernels_, options_.threads,
                              options_.activation_block, part,     memory_.spill};
    return make_blobs(
        checkpoint_, plan, options, folder,
        [this](const std::string& label, double done) { say(label, planned_ + (1 - planned_) * done); },
        [this](const std::string& line) {
          if (note_) note_(line);
        });
  }

 private:
  bool samples() const { return options_.calibration.empty() && !checkpoint_.synthetic(); }

  void say(const std::string& label, double done) const {
    if (progress_) progress_(label, done);
  }

  Result<ModelPlan> find_or_make_plan(WorkFolder& folder) {
    Result<ModelPlan> there = folder.plan();
    if (there) return there;
    const Errc code = there.error().code;
    if (code == Errc::corrupt && note_) note_(there.error().what + ": the plan is made again");
    if (code != Errc::corrupt && code != Errc::not_found) return there;
    planned_ = samples() ? kPlanShareSampled : kPlanShare;
    DGQ_TRY(const Tokenizer tokenizer, check_job(checkpoint_, options_));
    const PlanInputs inputs{
        checkpoint_,   tokenizer,        options_.recipe, kernels_, text_, options_.calibration.string(),
        options_.seed, options_.threads, memory_.sampling};
    StageClock clock;
    DGQ_TRY(ModelPlan plan, make_plan(inputs, clock, [this](const char* label, double done) {
              say(label, planned_ * done);
            }));
    DGQ_CHECK(folder.store_plan(plan, checkpoint_.file_digests(), clock.costs()));
    return plan;
  }

  const Checkpoint& checkpoint_;
  const QuantizeOptions& options_;
  const Kernels& kernels_;
  const QuantizeProgress& progress_;
  const Note& note_;
  MemoryPlan memory_{};
  std::string text_;    // the calibration file
  double planned_ = 0;  // share of the job that is done when the plan is there
};

}  // namespace

Result<Tokenizer> check_job(const Checkpoint& checkpoint, const QuantizeOptions& options) {
  DGQ_CHECK(check(options));
  if (const auto* allocate = options.recipe.find<AllocateOptions>())
    DGQ_CHECK(check_budget(checkpoint.config(), *allocate, options.recipe.ends));
  const std::string& where = checkpoint.tokenizer_where();
  DGQ_TRY(Tokenizer tokenizer, Tokenizer::parse(checkpoint.tokenizer_json(), where));
  if (tokenizer.vocabulary_size() > checkpoint.config().vocab)
    return Error{Errc::corrupt, where + " has ids up to " + std::to_string(tokenizer.vocabulary_size() - 1) +
                                    ", but the model's vocabulary has " +
                                    std::to_string(checkpoint.config().vocab)};
  return tokenizer;
}

Result<std::string> read_calibration(const QuantizeOptions& options) {
  return read_file(options.calibration, kMaxCalibrationBytes);
}

Result<QuantizeResult> quantize(const Checkpoint& checkpoint, Registry& registry, const ModelRef& name,
                                const QuantizeOptions& options, const Kernels& kernels,
                                const QuantizeProgress& progress, const Note& note) {
  Job job(checkpoint, options, kernels, progress, note);
  DGQ_TRY(const Manifest description, job.describe());
  return run_job(description, registry, name, options,
                 [&](WorkFolder& folder) -> Result<std::vector<std::string>> {
                   DGQ_CHECK(job.make({}, folder));
                   return blob_names(checkpoint.config().layers, description);
                 });
}

Result<void> quantize_part(const Checkpoint& checkpoint, const QuantizeOptions& options, const Part& part,
                           const Kernels& kernels, const QuantizeProgress& progress, const Note& note) {
  const std::size_t layers = checkpoint.config().layers;
  if (part.index < 1 || part.index > part.count || part.count > layers)
    return Error{Errc::invalid, "--part must be I/N with 1 <= I <= N, and N at most the number of layers, " +
                                    std::to_string(layers)};
  Job job(checkpoint, options, kernels, progress, note);
  DGQ_TRY(const Manifest description, job.describe());
  DGQ_TRY(WorkFolder folder, WorkFolder::open(options.work, description, WorkFolder::Use::shared));
  return job.make(part, folder);
}

Result<QuantizeResult> merge_parts(const std::vector<std::filesystem::path>& paths, Registry& registry,
                                   const ModelRef& name) {
  std::vector<WorkFolder> folders;
  for (const std::filesystem::path& path : paths) {
    DGQ_TRY(WorkFolder folder, WorkFolder::read(path));
    folders.push_back(std::move(folder));
    const WorkFolder &first = folders.front(), &last = folders.back();
    if (!same_job(first.job(), last.job()) || first.provenance() != last.provenance())
      return Error{Errc::invalid, last.path().string() + " holds a part of another job than " +
                                      first.path().string() +
                                      " (other model, recipe, calibration or dgq version)"};
  }
  if (folders.empty()) return Error{Errc::invalid, "--merge needs the folders of the parts"};
  const Manifest& job = folders.front().job();
  DGQ_TRY(const ModelConfig config, parse_config(job.config, folders.front().path().string()));
  return assemble(blob_names(config.layers, job), folders, registry, name);
}

}  // namespace dgq
