#include "quantizer/make_blobs.h"

#include <algorithm>
#include <optional>

#include "quantizer/coarse_layer.h"
#include "quantizer/pack_layer.h"
#include "quantizer/quantize_layer.h"
#include "runtime/chat_template.h"

namespace dgq {
namespace {

constexpr double kInputsShare = 0.5;  // of the time that a layer takes, for the progress bar
constexpr double kPassShare = 0.15;  // what a layer costs that is only passed, as a share of one that is made

class Maker {
 public:
  Maker(const Checkpoint& checkpoint, const ModelPlan& plan, const MakeOptions& options,
        const WorkFolder& folder, const MakeProgress& progress)
      : checkpoint_(checkpoint),
        config_(checkpoint.config()),
        plan_(plan),
        options_(options),
        folder_(folder),
        progress_(progress) {}

  Result<void> make(const Note& note) {
    DGQ_CHECK(look(note));
    count_work();
    if (missing("embedding")) DGQ_CHECK(embedding());
    DGQ_CHECK(layers());
    if (missing("head")) DGQ_CHECK(head());
    DGQ_CHECK(text("tokenizer", "tokenizer.json", checkpoint_.tokenizer_json()));
    return text(kChatTemplateBlob, kChatTemplateMedia, checkpoint_.chat_template());
  }

 private:
  bool missing(const std::string& name) const {
    return std::find(missing_.begin(), missing_.end(), name) != missing_.end();
  }
  Result<void> text(const char* name, const char* media, const std::string& bytes) const {
    if (!missing(name)) return {};
    return folder_.store(name, media, std::as_bytes(std::span(bytes)), {}, {});
  }
  static std::string layer_name(std::size_t index) { return "layers." + std::to_string(index); }

  // What of the part is not there.
  Result<void> look(const Note& note) {
    std::vector<std::string> names = blob_names(config_.layers, folder_.job());
    const auto layer = [&](std::size_t index) {
      return names.begin() + 1 + static_cast<std::ptrdiff_t>(index);
    };
    const auto begin =
        options_.part.index == 1 ? names.begin() : layer(options_.part.first_layer(config_.layers));
    const auto end = options_.part.index == options_.part.count
                         ? names.end()
                         : layer(options_.part.end_layer(config_.layers));
    std::size_t there = 0;
    for (auto name = begin; name != end; ++name) {
      const auto piece = folder_.find(*name);
      if (piece) {
        ++there;
        continue;
      }
      const Error& error = piece.error();
      if (error.code == Errc::corrupt) note(error.what + ": it is made again");
      if (error.code != Errc::corrupt && error.code != Errc::not_found) return error;
      missing_.push_back(*name);
    }
    if (there > 0)
      note("resuming: " + std::to_string(there) + " of " + std::to_string(end - begin) + " blobs are in " +
           folder_.path().string() + " already");
    return {};
  }

  void count_work() {
    for (std::size_t i = 0; i < config_.layers; ++i)
      if (missing(layer_name(i))) end_ = i + 1;
    for (std::size_t i = 0; i < end_; ++i) work_ += missing(layer_name(i)) ? 1 : kPassShare;
  }
  void say(const std::string& label, double done) const {
    progress_(label, work_ > 0 ? (done_ + done) / work_ : 1);
  }

  F32Matrix vocabulary(const std::vector<float>& table) const {
    return {config_.vocab, config_.hidden, table.data(), nullptr};
  }

  Result<void> store(LayerPacker& packer, const std::vector<TensorReport>& tensors, StageClock& clock) const {
    const std::vector<std::byte> bytes = packer.finish();
    clock.finish(packer.blob());
    return folder_.store(packer.blob(), "layer", bytes, tensors, clock.costs());
  }

  void pack_end(const std::vector<float>& table, const std::string& name, LayerPacker& packer) const {
    quantize_end(vocabulary(table), name, options_.recipe, options_.threads, packer);
  }

  Result<void> embedding() const {
    StageClock clock;
    DGQ_TRY(const std::vector<float> table, checkpoint_.embedding());
    std::vector<TensorReport> tensors;
    LayerPacker packer("embedding", tensors);
    pack_end(table, "embed_tokens", packer);
    return store(packer, tensors, clock);
  }

  Result<void> head() const {
    StageClock clock;
    std::vector<TensorReport> tensors;
    LayerPacker packer("head", tensors);
    DGQ_TRY(const std::vector<float> norm, checkpoint_.final_norm());
    packer.add_norm("norm", norm);
    DGQ_TRY(const std::vector<float> table, checkpoint_.head());
    if (!table.empty()) pack_end(table, "lm_head", packer);
    return store(packer, tensors, clock);
  }

  Result<CalibrationRun> start() const {
    DGQ_TRY(const std::vector<float> table, checkpoint_.embedding());
    return CalibrationRun::start(config_, options_.kernels,
                                 {options_.threads, options_.activation_block,
                                  options_.spill ? folder_.path() : std::filesystem::path()},
                                 plan_.sequences, vocabulary(table));
  }

  // Up to the last that is missing.
  Result<void> layers() {
    if (end_ == 0) return {};
    DGQ_TRY(CalibrationRun run, start());
    for (std::size_t i = 0; i < end_; ++i) {
      const bool wanted = missing(layer_name(i));
      DGQ_CHECK(wanted ? layer(i, run) : pass(i, run));
      done_ += wanted ? 1 : kPassShare;
    }
    return {};
  }

  Result<void> pass(std::size_t index, CalibrationRun& run) const {
    DGQ_TRY(const LayerF32 source, read_layer(checkpoint_, plan_, index));
    return run.pass(CoarseLayer(config_, source.weights, options_.threads).weights(),
                    [&](double done) { say(layer_name(index) + ": passing through", kPassShare * done); });
  }

  Result<void> layer(std::size_t index, CalibrationRun& run) const {
    StageClock clock;
    const std::string name = layer_name(index);
    DGQ_TRY(const LayerF32 source, read_layer(checkpoint_, plan_, index));
    DGQ_TRY(const LayerInputs inputs,
            run.collect(CoarseLayer(config_, source.weights, options_.threads).weights(),
                        plan_.token_weights.empty() ? nullptr : &plan_.token_weights[index],
                        [&](double done) { say(name + ": inputs", kInputsShare * done); }));
    std::vector<TensorReport> tensors;
    LayerPacker packer(name, tensors);
    DGQ_CHECK(quantize_layer(config_, source.weights, plan_.formats[index], inputs, options_.recipe,
                             *options_.kernels.gemm_f32, options_.threads, packer,
                             [&](const char* linear, double done) {
                               say(name + ": " + linear, kInputsShare + (1 - kInputsShare) * done);
                             }));
    return store(packer, tensors, clock);
  }

  const Checkpoint& checkpoint_;
  const ModelConfig& config_;
  const ModelPlan& plan_;
  const MakeOptions& options_;
  const WorkFolder& folder_;
  const MakeProgress& progress_;
  std::vector<std::string> missing_;
  std::size_t end_ = 0;         // layers from here on are not needed
  double work_ = 0, done_ = 0;  // in layers that are made
};

}  // namespace

Result<void> make_blobs(const Checkpoint& checkpoint, const ModelPlan& plan, const MakeOptions& options,
                        const WorkFolder& folder, const MakeProgress& progress, const Note& note) {
  return Maker(checkpoint, plan, options, folder, progress).make(note);
}

}  // namespace dgq
