// quantizer/report_plots.h - the plots of a report page. Internal to report_page.cpp.
#pragma once

#include <string>
#include <vector>

#include "quantizer/report.h"
#include "quantizer/stage_costs.h"

namespace dgq {

// As SVG (report/chart.h); those that would be empty are left out.
std::vector<std::string> report_plots(const std::vector<TensorReport>& tensors,
                                      const std::vector<StageCost>& costs);

}  // namespace dgq
