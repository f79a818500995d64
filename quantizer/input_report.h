// quantizer/input_report.h - what a linear's inputs are like: wide ranges and lone large channels are what int8 activations and
// small groups suffer from.
#pragma once

#include "quantizer/calibration.h"
#include "quantizer/report.h"

namespace dgq {

InputReport report_inputs(const LinearInputs& inputs);

}  // namespace dgq
