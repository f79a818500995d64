// tools/compare_output.h - a comparison of two models position by position: plot and JSON of `dgq eval compare`.
#pragma once

#include <string>

#include "base/json.h"
#include "runtime/compare.h"

namespace dgq::tools {

// An SVG file: KL divergence and perplexity over the position in the window, with bands of one standard error. a, b: the models'
// names.
std::string plot_positions(const Comparison& comparison, const std::string& a, const std::string& b);

// Arrays with one entry per position: {"position", "kld", "kld_standard_error", "nll_a", "nll_a_standard_error", ...}.
OrderedJson positions_json(const Comparison& comparison);

}  // namespace dgq::tools
