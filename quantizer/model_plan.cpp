#include "quantizer/model_plan.h"

#include "quantizer/allocate_model.h"

namespace dgq {
namespace {

// Shares of the time that a plan takes, for the progress bar: as on `eval`.
constexpr double kSamplingShare = 0.8;

class Planner {
 public:
  Planner(const PlanInputs& in, StageClock& clock,
          const std::function<void(const char* label, double done)>& progress)
      : in_(in), clock_(clock), progress_(progress) {}

  Result<ModelPlan> make() {
    DGQ_TRY(plan_.sequences, calibrate());
    clock_.finish("calibration text");
    DGQ_CHECK(smooth());
    DGQ_CHECK(allocate());
    DGQ_CHECK(weigh());
    DGQ_CHECK(fix_scales());
    return std::move(plan_);
  }

 private:
  bool samples() const { return in_.text_name.empty() && !in_.checkpoint.synthetic(); }

  // Progress of the next of the passes, which share what is left of the bar.
  Fraction next(const char* label) {
    const auto& recipe = in_.recipe;
    const int passes = (recipe.find<SmoothOptions>() != nullptr) +
                       (recipe.find<AllocateOptions>() != nullptr) +
                       (recipe.find<WeighOptions>() != nullptr) + (recipe.find<StaticOptions>() != nullptr);
    const double sampled = samples() ? kSamplingShare : 0, share = (1 - sampled) / passes,
                 start = sampled + share * passes_begun_++;
    return [=, this](double done) { progress_(label, start + share * done); };
  }

  Result<std::vector<Sequence>> calibrate() const {
    const std::size_t tokens = in_.recipe.calibration_tokens;
    const ModelConfig& config = in_.checkpoint.config();
    if (!in_.text_name.empty())
      return text_calibration(in_.text, in_.text_name, in_.tokenizer, config, tokens);
    if (in_.checkpoint.synthetic()) return random_calibration(config, tokens, in_.seed);
    return sample_calibration(
        in_.checkpoint, in_.kernels, tokens, in_.seed, in_.threads, in_.memory,
        [&](double done) { progress_("sampling calibration text", kSamplingShare * done); });
  }

  LayerReader reader() const {
    return [this](std::size_t i) { return read_layer(in_.checkpoint, plan_, i); };
  }

  Result<void> smooth() {
    const SmoothOptions* options = in_.recipe.find<SmoothOptions>();
    if (!options) return {};
    DGQ_TRY(plan_.factors,
            measure_factors(in_.checkpoint, reader(), in_.kernels, thin_out(plan_.sequences, options->tokens),
                            options->percentile, in_.threads, next("channels")));
    clock_.finish("smooth");
    return {};
  }

  Result<void> allocate() {
    const AllocateOptions* options = in_.recipe.find<AllocateOptions>();
    LayerFormats same;
    same.fill(in_.recipe.format);
    plan_.formats.assign(in_.checkpoint.config().layers, same);
    if (!options) return {};
    DGQ_TRY(const auto chosen,
            allocate_model(in_.checkpoint, reader(), in_.kernels, *options, in_.recipe.ends, plan_.sequences,
                           in_.threads, next("sensitivities")));
    for (std::size_t i = 0; i < plan_.formats.size(); ++i)
      std::copy_n(&chosen[i * kLinears], kLinears, plan_.formats[i].begin());
    clock_.finish("allocate");
    return {};
  }

  Result<void> weigh() {
    const WeighOptions* options = in_.recipe.find<WeighOptions>();
    if (!options) return {};
    DGQ_TRY(plan_.token_weights,
            measure_token_weights(in_.checkpoint, reader(), in_.kernels, plan_.sequences, options->strength,
                                  options->limit, kLabelSeed, in_.threads, next("weights of tokens")));
    clock_.finish("weigh-tokens");
    return {};
  }

  Result<void> fix_scales() {
    const StaticOptions* options = in_.recipe.find<StaticOptions>();
    if (!options) return {};
    DGQ_TRY(const auto scales, measure_static_scales(in_.checkpoint, reader(), in_.kernels,
                                                     thin_out(plan_.sequences, options->tokens), kLabelSeed,
                                                     in_.threads, next("scales of inputs")));
    plan_.input_scales = choose_static(scales, options->limit);
    clock_.finish("static-activations");
    return {};
  }

  const PlanInputs& in_;
  StageClock& clock_;
  const std::function<void(const char* label, double done)>& progress_;
  ModelPlan plan_;
  int passes_begun_ = 0;
};

}  // namespace

Result<ModelPlan> make_plan(const PlanInputs& inputs, StageClock& clock,
                            const std::function<void(const char* label, double done)>& progress) {
  return Planner(inputs, clock, progress).make();
}

Result<LayerF32> read_layer(const Checkpoint& checkpoint, const ModelPlan& plan, std::size_t index) {
  DGQ_TRY(LayerF32 layer, checkpoint.layer(index));
  if (!plan.factors.empty()) apply(plan.factors[index], checkpoint.config(), layer);
  if (!plan.input_scales.empty()) layer.weights.input_scale = plan.input_scales[index];
  return layer;
}

}  // namespace dgq
