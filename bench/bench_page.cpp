#include "bench/bench_page.h"

#include <set>

#include "base/time.h"
#include "bench/bench_plots.h"
#include "bench/machine.h"
#include "bench/significance.h"
#include "bench/statistics.h"
#include "report/html.h"
#include "report/text.h"

namespace dgq::bench {
namespace {

using Rows = std::vector<std::vector<std::string>>;

std::string figure(const RunEntry& entry, const char* key) {
  return text_of(entry.row->figures.value(key, Json()));
}
std::string label(const RunEntry& entry, const char* key) {
  return text_of(entry.row->of.value(key, Json()));
}

std::string percent(const RunEntry& entry, const char* key) {
  const Json value = entry.row->figures.value(key, Json());
  return value.is_number() ? short_number(100 * value.get<double>(), 3) + " %" : "-";
}

std::string interval_text(const RunRow& row) {
  const Interval interval = median_interval(row.counted());
  return short_number(interval.low) + " to " + short_number(interval.high);
}

std::string gigabytes(const Json& bytes) {
  return bytes.is_number() ? short_number(bytes.get<double>() / 1e9, 3) + " GB" : "-";
}

std::string section_of(const std::string& heading, const std::vector<std::string>& plots,
                       const std::string& rest = "") {
  if (plots.empty() && rest.empty()) return "";
  return html_section(heading, (plots.empty() ? "" : html_charts(plots)) + rest);
}

// A table of the entries of a kind, one row each; nothing where there is none.
template <class Columns>
std::string table_of(const std::vector<RunEntry>& entries, const char* kind, const std::string& caption,
                     const std::vector<std::string>& heads, const Columns& columns) {
  Rows rows;
  for (const RunEntry& entry : entries)
    if (entry.run->kind == kind) rows.push_back(columns(entry));
  return rows.empty() ? "" : html_table(caption, heads, rows);
}

std::string model_table(const std::vector<RunEntry>& entries) {
  return table_of(entries, "model",
                  "Models: medians; shares are of what the machine was measured to read and multiply",
                  {"Model", ">Bits/weight", "Engine", ">Threads", "Test", ">Tokens/s", ">95 % interval",
                   ">Samples", ">First token, ms", ">GB/s", ">Of read", ">GMAC/s", ">Of ceiling", ">J/token"},
                  [](const RunEntry& entry) -> std::vector<std::string> {
                    return {label(entry, "model"),
                            figure(entry, "bits_per_weight"),
                            series_name(entry),
                            label(entry, "n_threads"),
                            label(entry, "test"),
                            short_number(median(entry.row->counted())),
                            interval_text(*entry.row),
                            std::to_string(entry.row->counted().size()),
                            figure(entry, "ttft_ms"),
                            figure(entry, "gb_per_s"),
                            percent(entry, "of_read"),
                            figure(entry, "gmac_per_s"),
                            percent(entry, "of_multiply_add"),
                            figure(entry, "joules_per_token")};
                  });
}

std::string kernel_table(const std::vector<RunEntry>& entries) {
  return table_of(entries, "kernels", "Kernels: medians",
                  {"Machine", "Operation", "ISA", "Linear", ">Rows", ">Weights", ">Threads", ">us", ">GB/s",
                   ">Of read", ">GMAC/s", ">Of ceiling"},
                  [](const RunEntry& entry) -> std::vector<std::string> {
                    return {machine_name(entry.run->machine),
                            label(entry, "operation"),
                            label(entry, "isa"),
                            label(entry, "linear"),
                            label(entry, "m"),
                            label(entry, "n") + " x " + label(entry, "k"),
                            label(entry, "n_threads"),
                            short_number(1e6 * median(entry.row->counted())),
                            figure(entry, "gb_per_s"),
                            percent(entry, "of_read"),
                            figure(entry, "gmac_per_s"),
                            percent(entry, "of_multiply_add")};
                  });
}

std::string agent_table(const std::vector<RunEntry>& entries) {
  return table_of(entries, "agent", "Load on an agent",
                  {"Model", "Machine", ">Streams", "What", ">Median", ">95 % interval", ">99th percentile",
                   "Unit", ">Samples", ">J/token"},
                  [](const RunEntry& entry) -> std::vector<std::string> {
                    return {label(entry, "model"),
                            machine_name(entry.run->machine),
                            label(entry, "streams"),
                            label(entry, "test"),
                            short_number(median(entry.row->counted())),
                            interval_text(*entry.row),
                            figure(entry, "p99"),
                            entry.row->unit,
                            std::to_string(entry.row->counted().size()),
                            figure(entry, "joules_per_token")};
                  });
}

std::string registry_table(const std::vector<RunEntry>& entries) {
  return table_of(entries, "registry", "Registry operations",
                  {"What", "Machine", ">Median", ">95 % interval", "Unit", ">Samples"},
                  [](const RunEntry& entry) -> std::vector<std::string> {
                    return {name_of(*entry.row),
                            machine_name(entry.run->machine),
                            short_number(median(entry.row->counted())),
                            interval_text(*entry.row),
                            entry.row->unit,
                            std::to_string(entry.row->counted().size())};
                  });
}

std::string estimates(const std::vector<RunEntry>& entries) {
  const std::string table = table_of(entries, "instructions", "Estimates",
                                     {"Architecture", "ISA", "Weights", ">Rows", "Core", ">Estimate", "Unit",
                                      ">Multiplications of vector instructions", "By"},
                                     [](const RunEntry& entry) -> std::vector<std::string> {
                                       return {label(entry, "architecture"),
                                               label(entry, "isa"),
                                               label(entry, "weights"),
                                               label(entry, "m"),
                                               label(entry, "core"),
                                               short_number(median(entry.row->counted())),
                                               entry.row->unit,
                                               percent(entry, "of_vector_instructions"),
                                               label(entry, "by")};
                                     });
  return table.empty() ? ""
                       : html_paragraph(
                             "Counted or modelled, not timed: what a kernel executes, and what a model of a "
                             "core makes of "
                             "its inner "
                             "loop. Never to be put beside the speeds above.") +
                             table;
}

std::string accuracy_table(const std::vector<Accuracy>& accuracy) {
  Rows rows;
  for (const Accuracy& one : accuracy)
    rows.push_back(
        {one.name, short_number(one.bits_per_weight), short_number(one.kld), short_number(one.kld_error, 2)});
  return rows.empty() ? ""
                      : html_table("Accuracy, as dgq eval compare --store kept it",
                                   {"Model", ">Bits/weight", ">KL divergence", ">Standard error"}, rows);
}

std::string setups(const std::vector<Run>& runs) {
  Rows rows;
  for (const Run& run : runs) {
    const auto machine = [&](const char* key) { return text_of(run.machine.value(key, Json())); };
    const auto build = [&](const char* key) { return text_of(run.build.value(key, Json())); };
    const Json steal = run.conditions.value("steal_share", Json());
    rows.push_back({run_digest(run).short_hex(), run.kind, utc_time(run.started_unix_s),
                    machine_name(run.machine), machine("features"),
                    text_of(run.settings.value("isa", Json())),
                    gigabytes(run.machine.value("memory_bytes", Json())), machine("governor"),
                    machine("kernel"), machine("container"), machine("virtual_machine"), build("commit"),
                    build("compiler"), build("flags"), text_of(run.conditions.value("throttled", Json())),
                    steal.is_number() ? short_number(100 * steal.get<double>(), 3) + " %" : "-",
                    gigabytes(run.conditions.value("peak_memory_bytes", Json()))});
  }
  return html_table(
      "Runs; - where it could not be read",
      {"Run", "Kind", "Started", "Machine", "Features", "ISA", ">Memory", "Governor", "Kernel", "Container",
       "Virtual", "Commit", "Compiler", "Flags", ">Throttled", ">Stolen", ">Peak memory"},
      rows);
}

}  // namespace

std::string html(const std::vector<Run>& runs, const std::vector<Accuracy>& accuracy) {
  const std::vector<RunEntry> entries = latest_entries(runs);
  std::set<std::string> machines;
  for (const Run& run : runs)
    if (run.kind != "instructions") machines.insert(machine_name(run.machine));
  std::string names;
  for (const std::string& machine : machines) names += (names.empty() ? "" : "; ") + machine;
  std::string body = html_section("Summary", html_facts({{"Runs", std::to_string(runs.size())},
                                                         {"Machines", names.empty() ? "-" : names},
                                                         {"Intervals", "95 % bootstrap of the median"},
                                                         {"Of several runs of the same", "the latest"}}));
  body += section_of("Tokens per second", speed_plots(entries), model_table(entries));
  body += section_of("Rooflines", roofline_plots(entries), kernel_table(entries));
  body += section_of("Scaling", scaling_plots(entries));
  body += section_of("Agent", {}, agent_table(entries));
  body += section_of("Registry", {}, registry_table(entries));
  body += section_of("Accuracy", accuracy_plots(accuracy), accuracy_table(accuracy));
  body += section_of("Estimates", {}, estimates(entries));
  body += html_section("Set-ups", setups(runs));
  return html_page("dgq benchmarks", body);
}

}  // namespace dgq::bench
