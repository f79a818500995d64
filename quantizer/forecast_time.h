// quantizer/forecast_time.h - the time that a job will take, from short runs of its steps on the first layer.
#pragma once

#include <vector>

#include "quantizer/memory_plan.h"
#include "quantizer/quantize.h"

namespace dgq {

// Seconds. sample: some calibration text, a few hundred tokens or more.
Result<double> forecast_seconds(const Checkpoint& checkpoint, const QuantizeOptions& options,
                                const Kernels& kernels, const MemoryPlan& memory,
                                const std::vector<Sequence>& sample);

}  // namespace dgq
