// quantizer/quantize.h - the whole job: a checkpoint folder becomes a version in a registry.
//
// First what concerns the whole model (quantizer/model_plan.h), then the blobs one by one (quantizer/make_blobs.h), each of which
// is kept in a work folder as soon as it is there; at last all of them go into the registry. A job that was killed goes on where
// it was, and several machines can share one. The same checkpoint, options and tool give the same version digest on every
// machine, in one run or in parts.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "kernels/table.h"
#include "quantizer/checkpoint.h"
#include "quantizer/make_blobs.h"
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
  bool force = false;            // quantize even when the registry has the result
  std::string tool;              // "dgq 0.1.0", for provenance
  std::filesystem::path work;    // work folder; empty: <registry>.work/<fingerprint>
  std::uint64_t max_memory = 0;  // bytes of memory for the process; 0: half of what there is
};

struct QuantizeResult {
  Digest version;
  bool reused = false;  // the name already had a version with this provenance and recipe: nothing was done
  std::vector<TensorReport> tensors;
  std::vector<StageCost> costs;  // of making it, wherever and whenever each piece was made
  Manifest manifest;
};

// The checks before any work. The tokenizer is stored as it is, so it has to be one that the runtime will read, with ids that the
// model knows.
Result<Tokenizer> check_job(const Checkpoint& checkpoint, const QuantizeOptions& options);
// The text of options.calibration.
Result<std::string> read_calibration(const QuantizeOptions& options);

// What is being done, and how much of the whole job is: 0..1.
using QuantizeProgress = std::function<void(const std::string& label, double done)>;

// The registry is as before unless this succeeds. Errors name file, tensor or option. After those that go away (a full disk, a
// lock) the work folder stays, and the same call goes on from there; note() says so.
Result<QuantizeResult> quantize(const Checkpoint& checkpoint, Registry& registry, const ModelRef& name,
                                const QuantizeOptions& options, const Kernels& kernels,
                                const QuantizeProgress& progress = {}, const Note& note = {});

// Only the blobs of one part, into options.work, which other processes may be filling too.
Result<void> quantize_part(const Checkpoint& checkpoint, const QuantizeOptions& options, const Part& part,
                           const Kernels& kernels, const QuantizeProgress& progress = {},
                           const Note& note = {});

// The version that quantize() would have made, from the folders of all parts. invalid: they are not of one job, or
// blobs are missing (named).
Result<QuantizeResult> merge_parts(const std::vector<std::filesystem::path>& folders, Registry& registry,
                                   const ModelRef& name);

}  // namespace dgq
