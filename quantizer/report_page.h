// quantizer/report_page.h - a version's report as one HTML file: summary, plots, tables, recipe and provenance.
#pragma once

#include <string>
#include <vector>

#include "quantizer/report.h"
#include "quantizer/stage_costs.h"
#include "registry/manifest.h"

namespace dgq {

struct ReportPage {
  std::string name;     // "demo:latest"
  std::string version;  // its digest
  Manifest manifest;
  std::vector<TensorReport> tensors;  // of the manifest's report
  std::vector<StageCost> costs;       // empty: not known
};

// Figures that the version lacks, since an older dgq made it, are left out, and so are plots that would be empty.
std::string html(const ReportPage& page);

}  // namespace dgq
