// runtime/kernel_report.h - which kernel runs each operation on this CPU, and why, for programs.
#pragma once

#include "base/json.h"
#include "kernels/table.h"

namespace dgq {

// {"cpu": ..., "architecture": ..., "features": ..., "isa": ..., "kernels": [{"operation", "isa", "needs", "made_for" or null,
// "runnable", "chosen", "reason"}]}
OrderedJson kernel_report(const Kernels& kernels);

}  // namespace dgq
