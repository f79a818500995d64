// quantizer/run_job.h - from pieces in work folders to a version: what every kind of model goes through. Internal to quantizer/.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "quantizer/quantize.h"
#include "quantizer/work_folder.h"

namespace dgq {

// Makes the blobs of the job that the folder does not have yet. The names of all, in their order.
using MakePieces = std::function<Result<std::vector<std::string>>(WorkFolder&)>;

// The version of the job, unless the name has it already: see quantize().
Result<QuantizeResult> run_job(const Manifest& job, Registry& registry, const ModelRef& name,
                               const QuantizeOptions& options, const MakePieces& make);

// The version that has these blobs, each from the first folder that has it. invalid: some are in none, named. Precondition:
// the folders have the same job and plan.
Result<QuantizeResult> assemble(const std::vector<std::string>& blobs, const std::vector<WorkFolder>& folders,
                                Registry& registry, const ModelRef& name);

}  // namespace dgq
