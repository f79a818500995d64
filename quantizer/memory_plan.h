// quantizer/memory_plan.h - what a job takes of memory, before it begins.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "quantizer/recipe.h"
#include "runtime/config.h"

namespace dgq {

struct MemoryPlan {
  std::uint64_t peak;      // of the process, expected
  std::uint64_t sampling;  // what sampling may take for layers and sequences
  bool spill;              // hidden rows of the calibration text go to a file
  std::uint64_t spilled;   // bytes of that file
};

// Of a job whose process has what it has now, plus the job's share. limit: bytes; 0: half of the machine's
// memory, or of what the control group of this process may have when that is less. invalid: it cannot
// be kept; the message has the sum.
Result<MemoryPlan> plan_memory(const ModelConfig& config, const Recipe& recipe, bool samples,
                               std::uint64_t limit);

}  // namespace dgq
