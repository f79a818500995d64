// quantizer/quantize.h - the whole job: a checkpoint folder becomes a version in a registry.
//
// Calibration text runs through the model one layer at a time; each layer's linears go through the passes of the recipe
// (quantizer/recipe.h), see inputs that went through the quantized linears before them, and are packed into a layer blob and
// stored before the next layer is read. The same checkpoint, options and tool give the same version digest on every machine.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "kernels/table.h"
#include "quantizer/checkpoint.h"
#include "quantizer/recipe.h"
#include "quantizer/report.h"
#include "quantizer/stage_costs.h"
#include "registry/registry.h"

namespace dgq {

inline constexpr std::size_t kMinCalibrationTokens = 64, kMaxCalibrationTokens = 1u << 24;

struct QuantizeOptions {
  Recipe recipe;
  std::size_t activation_block = 128;  // or 0: one activation scale per row
  std::filesystem::path calibration;   // text file; empty: the model samples its own
  std::uint64_t seed = 1;              // of the sampling
  int threads = 1;
  bool force = false;  // quantize even when the registry has the result
  std::string tool;    // "dgq 0.1.0", for provenance
};

struct QuantizeResult {
  Digest version;
  bool reused = false;  // the name already had a version with this provenance and recipe: nothing was done
  std::vector<TensorReport> tensors;
  std::vector<StageCost> costs;  // of the run that made it
  Manifest manifest;
};

// What is being done, and how much of the whole job is: 0..1.
using QuantizeProgress = std::function<void(const std::string& label, double done)>;

// The registry is as before unless this succeeds. Errors name file, tensor or option.
Result<QuantizeResult> quantize(const Checkpoint& checkpoint, Registry& registry, const ModelRef& name,
                                const QuantizeOptions& options, const Kernels& kernels,
                                const QuantizeProgress& progress = {});

}  // namespace dgq
