#include "tools/report_output.h"

#include <cstdio>
#include <iostream>

#include "base/file.h"
#include "tools/registry_output.h"

namespace dgq::tools {
namespace {

std::string error_text(double error) { return number("%.4g", error); }

void print_tensors(const std::vector<TensorReport>& tensors) {
  Table table({"TENSOR", ">SHAPE", "KIND", ">GROUP", ">BITS", ">MIN-MAX", ">STORED", ">RATIO", ">CLIPPED",
               ">OUTLIERS", ">RANGE"});
  for (const TensorReport& t : tensors)
    table.add({one_line(t.name), std::to_string(t.n) + " x " + std::to_string(t.k), one_line(t.kind),
               t.group ? std::to_string(t.group) : "-", number("%.3f", t.bits_per_weight()),
               error_text(t.error_minmax), error_text(t.error),
               is_fine(t) && t.error_minmax > 0 ? number("%.3f", t.error / t.error_minmax) : "-",
               t.clipped ? number("%.2f %%", 100 * *t.clipped) : "-",
               t.input ? std::to_string(t.input->outliers) : "-",
               t.input ? number("%.1f", t.input->range) : "-"});
  table.print();
}

void print_passes(const std::vector<TensorReport>& tensors) {
  std::vector<std::string> titles = {"ERROR OF", ">MIN-MAX"};
  std::size_t passes = 0;
  for (const TensorReport& t : tensors)
    for (; passes < t.passes.size(); ++passes) titles.push_back(">AFTER " + one_line(t.passes[passes].pass));
  Table table(std::move(titles));
  for (const TensorReport& t : tensors) {
    std::vector<std::string> row = {one_line(t.name), error_text(t.error_minmax)};
    for (std::size_t i = 0; i < passes; ++i)
      row.push_back(i < t.passes.size() ? error_text(t.passes[i].error) : "-");
    table.add(std::move(row));
  }
  std::cout << '\n';
  table.print();
}

void print_totals(const std::vector<TensorReport>& tensors) {
  Table table({"KIND", ">TENSORS", ">WEIGHTS", ">SIZE", ">BITS", ">MIN-MAX", ">STORED"});
  const auto add = [&](const std::string& kind, const ReportTotal& sum, bool judged) {
    table.add({one_line(kind), std::to_string(sum.tensors), std::to_string(sum.weights),
               human_bytes(static_cast<double>(sum.bytes)), number("%.3f", sum.bits_per_weight()),
               judged ? error_text(sum.error_minmax) : "-", judged ? error_text(sum.error) : "-"});
  };
  for (const auto& [kind, sum] : totals_by_kind(tensors)) add(kind, sum, kind == "w4" || kind == "w6");
  add("all", total(tensors), true);
  std::cout << '\n';
  table.print();
}

}  // namespace

void print_report(const std::vector<TensorReport>& tensors, bool verbose) {
  print_tensors(tensors);
  if (verbose) print_passes(tensors);
  print_totals(tensors);
  std::cout
      << "Errors: of the output on the calibration text, relative; where there are no inputs: of the "
         "weights.\n"
         "Means are of w4 and w6. Clipped: weights beyond their grid. Range: of inputs, largest over rms.\n"
         "Outliers: input channels whose rms is over "
      << kOutlierRatio << " times the median channel's.\n";
}

Result<void> write_page(const ReportPage& page, const std::filesystem::path& path) {
  const std::string text = html(page);
  return write_file_atomic(path, std::as_bytes(std::span(text)));
}

}  // namespace dgq::tools
