// quantizer/model_plan.h - what is decided for the whole model before its layers are quantized one by one: the calibration
// text and what the passes `smooth`, `allocate`, `weigh-tokens` and `static-activations` found. With it and the checkpoint any layer can be made on
// any machine.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "quantizer/calibration.h"
#include "quantizer/quantize_layer.h"
#include "quantizer/smooth.h"
#include "quantizer/stage_costs.h"
#include "quantizer/static_scales.h"
#include "quantizer/token_weights.h"

namespace dgq {

struct ModelPlan {
  std::vector<Sequence> sequences;
  std::vector<LayerFormats> formats;             // per layer
  std::vector<LayerFactors> factors;             // per layer; empty: weights stay as they are
  std::vector<LayerTokenWeights> token_weights;  // per layer; empty: all tokens count the same
  std::vector<InputScales> input_scales;         // per layer; empty: none is static
};

// What make_plan() works from. References and views are borrowed.
struct PlanInputs {
  const Checkpoint& checkpoint;
  const Tokenizer& tokenizer;
  const Recipe& recipe;
  const Kernels& kernels;
  std::string_view text;  // of the calibration file
  std::string text_name;  // the file; empty: there is none, the model samples its own text
  std::uint64_t seed;     // of the sampling
  int threads;
  std::uint64_t memory;  // bytes that sampling may take
};

// progress(what is being done, how much of the plan is). clock: has a stage for the text and for each pass.
Result<ModelPlan> make_plan(const PlanInputs& inputs, StageClock& clock,
                            const std::function<void(const char* label, double done)>& progress);

// A layer of the checkpoint, smoothed and with static scales if the plan says so.
Result<LayerF32> read_layer(const Checkpoint& checkpoint, const ModelPlan& plan, std::size_t index);

// The plan as a .safetensors file: `tokens` and `lengths` (I32) of the sequences, `formats` (I32: bits and group of each linear),
// `factors.*`, `token_weights` and `input_scales` (F32) where there are. Equal plans are equal bytes.
std::string plan_to_bytes(const ModelPlan& plan, const ModelConfig& config);
// Back. corrupt: it is none, or not one of a model with this config.
Result<ModelPlan> parse_plan(std::span<const std::byte> bytes, const ModelConfig& config,
                             std::string_view where);

}  // namespace dgq
