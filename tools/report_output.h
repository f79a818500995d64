// tools/report_output.h - a quantization's report for people: `dgq quantize` and `dgq registry show`.
#pragma once

#include <filesystem>
#include <vector>

#include "quantizer/report.h"
#include "quantizer/report_page.h"

namespace dgq::tools {

// Tables on standard output, at most 110 columns wide. verbose: with the error after each pass.
void print_report(const std::vector<TensorReport>& tensors, bool verbose);

// The page as an HTML file.
Result<void> write_page(const ReportPage& page, const std::filesystem::path& path);

}  // namespace dgq::tools
