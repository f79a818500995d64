#include "quantizer/report_page.h"

#include "quantizer/report_plots.h"
#include "report/html.h"
#include "report/text.h"

namespace dgq {
namespace {

std::string megabytes(std::uint64_t bytes) { return short_number(static_cast<double>(bytes) / 1e6, 4); }
std::string pretty(const Json& json) { return json.dump(2, ' ', false, Json::error_handler_t::replace); }

// A member as text, "-" when it is not there: manifests come from elsewhere.
std::string member(const Json& object, const char* key) {
  if (!object.is_object() || !object.contains(key) || object[key].is_null()) return "-";
  return object[key].is_string() ? object[key].get<std::string>() : pretty(object[key]);
}

std::string summary(const ReportPage& page) {
  std::uint64_t bytes = 0;
  for (const BlobRef& blob : page.manifest.blobs) bytes += blob.bytes;
  const ReportTotal all = total(page.tensors);
  std::vector<std::pair<std::string, std::string>> facts = {
      {"Recipe", member(page.manifest.recipe, "name")},
      {"Made by", member(page.manifest.provenance, "tool")},
      {"Size", megabytes(bytes) + " MB"},
      {"Bits per weight, all tensors", short_number(all.bits_per_weight())},
      {"Weights", short_number(static_cast<double>(all.weights) / 1e6) + " million"},
      {"Mean output error, w4 and w6",
       short_number(all.error) + " (min-max: " + short_number(all.error_minmax) + ")"},
      {"Activations",
       page.manifest.activation_block == 0 ? "int8, one scale per row" : "int8, one scale per 128 columns"}};
  if (!page.costs.empty()) {
    const StageCost made = total(page.costs);
    facts.emplace_back("Time", short_number(made.seconds, 3) + " s");
    facts.emplace_back("Peak memory", megabytes(made.peak_rss_bytes) + " MB");
  }
  return html_paragraph("Version " + page.version) + html_facts(facts);
}

std::string kinds_table(const std::vector<TensorReport>& tensors) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& [kind, sum] : totals_by_kind(tensors)) {
    const bool judged = kind == "w4" || kind == "w6";
    rows.push_back({kind, std::to_string(sum.tensors), std::to_string(sum.weights), megabytes(sum.bytes),
                    short_number(sum.bits_per_weight()), judged ? short_number(sum.error_minmax) : "-",
                    judged ? short_number(sum.error) : "-"});
  }
  return html_table("By kind; errors are means over tensors",
                    {"Kind", ">Tensors", ">Weights", ">MB", ">Bits/weight", ">Min-max", ">Stored"}, rows);
}

std::string tensors_table(const std::vector<TensorReport>& tensors) {
  std::vector<std::string> titles = {"Tensor", ">Rows",        ">Columns", "Kind",
                                     ">Group", ">Bits/weight", ">Min-max"};
  std::size_t passes = 0;
  for (const TensorReport& t : tensors)
    for (; passes < t.passes.size(); ++passes) titles.push_back(">After " + t.passes[passes].pass);
  for (const char* title : {">Stored", ">Clipped %", ">Outliers", ">Range"}) titles.emplace_back(title);
  std::vector<std::vector<std::string>> rows;
  for (const TensorReport& t : tensors) {
    std::vector<std::string> row = {t.name,
                                    std::to_string(t.n),
                                    std::to_string(t.k),
                                    t.kind,
                                    t.group ? std::to_string(t.group) : "-",
                                    short_number(t.bits_per_weight()),
                                    short_number(t.error_minmax)};
    for (std::size_t i = 0; i < passes; ++i)
      row.push_back(i < t.passes.size() ? short_number(t.passes[i].error) : "-");
    row.push_back(short_number(t.error));
    row.push_back(t.clipped ? short_number(100 * *t.clipped, 3) : "-");
    row.push_back(t.input ? std::to_string(t.input->outliers) : "-");
    row.push_back(t.input ? short_number(t.input->range, 3) : "-");
    rows.push_back(std::move(row));
  }
  return html_table(
      "Errors are relative output errors on the calibration text; where there are no inputs, of the weights",
      titles, rows);
}

std::string costs_table(const std::vector<StageCost>& costs) {
  std::vector<std::vector<std::string>> rows;
  for (const StageCost& cost : costs)
    rows.push_back({cost.stage, short_number(cost.seconds, 3), megabytes(cost.peak_rss_bytes)});
  return html_table("On the machines that made this version",
                    {"Stage", ">Seconds", ">Peak memory so far, MB"}, rows);
}

}  // namespace

std::string html(const ReportPage& page) {
  std::string body = html_section("Summary", summary(page) + kinds_table(page.tensors)) +
                     html_section("Plots", html_charts(report_plots(page.tensors, page.costs))) +
                     html_section("Tensors", tensors_table(page.tensors));
  if (!page.costs.empty()) body += html_section("Time and memory", costs_table(page.costs));
  body += html_section("Made from", html_details("Recipe", pretty(page.manifest.recipe)) +
                                        html_details("Provenance", pretty(page.manifest.provenance)) +
                                        html_details("Configuration", pretty(page.manifest.config)));
  return html_page(page.name + ": quantization report", body);
}

}  // namespace dgq
