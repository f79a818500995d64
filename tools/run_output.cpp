#include "tools/run_output.h"

#include <algorithm>
#include <iostream>

#include "bench/run_entries.h"
#include "bench/significance.h"
#include "bench/statistics.h"
#include "registry/runs.h"
#include "report/text.h"
#include "tools/cmd_bench.h"
#include "tools/registry_output.h"

namespace dgq::tools {
namespace po = boost::program_options;

namespace {

using bench::Run;
using bench::RunRow;

const std::vector<std::string> kFormats = {"md", "csv", "json", "sql"};

// One row of a run as llama-bench has it: one value for each column.
OrderedJson flat(const Run& run, const RunRow& row) {
  const std::vector<double> counted = row.counted();
  OrderedJson columns = {{"run", bench::run_digest(run).short_hex()},
                         {"kind", run.kind},
                         {"test_time", utc_time(run.started_unix_s)},
                         {"build_commit", run.build.value("commit", Json())},
                         {"cpu_info", run.machine.value("cpu", Json())}};
  for (const auto& [key, value] : run.settings.items()) columns[key] = value;
  for (const auto& [key, value] : row.of.items()) columns[key] = value;
  for (const auto& [key, value] : row.figures.items()) columns[key] = value;
  const std::string unit = row.unit == "tokens/s" ? "_ts" : "_" + row.unit;
  columns["avg" + unit] = bench::mean(counted);
  columns["stddev" + unit] = bench::deviation(counted);
  columns["median" + unit] = bench::median(counted);
  columns["n_samples"] = counted.size();
  columns["n_warm_up"] = row.warm_up;
  return columns;
}

struct Columns {
  std::vector<std::string> names;
  std::vector<OrderedJson> rows;
};
Columns columns_of(const std::vector<Run>& runs) {
  Columns columns;
  for (const Run& run : runs)
    for (const RunRow& row : run.rows) {
      columns.rows.push_back(flat(run, row));
      for (const auto& [name, value] : columns.rows.back().items())
        if (std::find(columns.names.begin(), columns.names.end(), name) == columns.names.end())
          columns.names.push_back(name);
    }
  return columns;
}

std::string text_of(const OrderedJson& value) {
  if (value.is_null()) return "";
  return value.is_string() ? value.get<std::string>()
                           : value.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

std::string quoted(const std::string& text, char quote) {
  std::string out(1, quote);
  for (const char c : text) out += c == quote ? std::string(2, quote) : std::string(1, c);
  return out + quote;
}

Result<void> save(const Options& options, const Run& run) {
  const std::filesystem::path path = registry_path(options);
  std::error_code ignored;
  if (!options.has("registry") && !std::filesystem::exists(path, ignored)) {
    std::cerr << "not saved: no registry at " << path.string() << " (dgq registry init makes one)\n";
    return {};
  }
  DGQ_TRY(Registry registry, Registry::open(path, Registry::Mode::read_write));
  DGQ_TRY(const AddedRuns added, add_runs(registry, {{run.kind, run.started_unix_s, bench::run_text(run)}}));
  std::cerr << "saved as run " << added.digests.front().short_hex() << " in " << path.string() << '\n';
  return {};
}

}  // namespace

void add_output_options(Options& options, bool save) {
  options.named.add_options()  //
      ("output", po::value<std::string>()->default_value("md")->value_name("FORMAT"),
       "md, csv, json or sql, on standard output")  //
      ("json", po::bool_switch(), "the same as --output json: the run with all samples, nothing else");
  if (!save) return;
  options.named.add_options()("no-save", po::bool_switch(), "do not keep the run in the registry");
  add_registry_option(options);
}

Result<RunFormat> output_format(const Options& options) {
  if (options.get<bool>("json")) return RunFormat::json;
  DGQ_TRY(const std::size_t format, one_of(options, "output", kFormats));
  return static_cast<RunFormat>(format);
}

std::string rows_as_csv(const std::vector<Run>& runs) {
  const Columns columns = columns_of(runs);
  std::string text;
  for (const std::string& name : columns.names)
    text += (text.empty() ? "" : ",") + quoted(one_line(name), '"');
  text += '\n';
  for (const OrderedJson& row : columns.rows) {
    std::string line;
    for (std::size_t i = 0; i < columns.names.size(); ++i)
      line += (i > 0 ? "," : "") + quoted(text_of(row.value(columns.names[i], OrderedJson())), '"');
    text += line + '\n';
  }
  return text;
}

std::string rows_as_sql(const std::vector<Run>& runs) {
  const Columns columns = columns_of(runs);
  std::string names;
  for (const std::string& name : columns.names)
    names += (names.empty() ? "" : ", ") + quoted(one_line(name), '"');
  std::string text = "CREATE TABLE IF NOT EXISTS bench (" + names + ");\n";
  for (const OrderedJson& row : columns.rows) {
    std::string values;
    for (const std::string& name : columns.names) {
      const OrderedJson value = row.value(name, OrderedJson());
      values +=
          (values.empty() ? "" : ", ") + (value.is_null()      ? std::string("NULL")
                                          : value.is_number()  ? text_of(value)
                                          : value.is_boolean() ? std::string(value.get<bool>() ? "1" : "0")
                                                               : quoted(one_line(text_of(value)), '\''));
    }
    text += "INSERT INTO bench (" + names + ") VALUES (" + values + ");\n";
  }
  return text;
}

void print_rows(const Run& run) {
  Table table({"WHAT", ">MEDIAN", ">95 % INTERVAL", "UNIT", ">SAMPLES"});
  for (const RunRow& row : run.rows) {
    const std::vector<double> counted = row.counted();
    const bench::Interval interval = bench::median_interval(counted);
    table.add({one_line(bench::name_of(row)), short_number(bench::median(counted)),
               short_number(interval.low) + " to " + short_number(interval.high), one_line(row.unit),
               std::to_string(counted.size())});
  }
  table.print();
}

Result<void> deliver(const Options& options, const Run& run, const std::function<void()>& print_md) {
  DGQ_TRY(const RunFormat format, output_format(options));
  if (format == RunFormat::md) print_md();
  if (format == RunFormat::json) print_json(*parse_json(bench::run_text(run), "run"));
  if (format == RunFormat::csv) std::cout << rows_as_csv({run});
  if (format == RunFormat::sql) std::cout << rows_as_sql({run});
  std::cout.flush();
  return options.get<bool>("no-save") ? Result<void>() : save(options, run);
}

}  // namespace dgq::tools
