// tools/cmd_bench_runs.cpp - `dgq bench runs`, `show`, `export`, `remove`: the runs that a registry keeps.
#include <iostream>

#include "base/file.h"
#include "bench/machine.h"
#include "registry/runs.h"
#include "tools/cmd_bench.h"
#include "tools/registry_output.h"
#include "tools/run_output.h"
#include "tools/run_reference.h"

namespace dgq::tools {
namespace {

namespace po = boost::program_options;
using bench::Run;

// What a list says was measured: the models, or the operations.
std::string subject(const Run& run) {
  std::vector<std::string> names;
  for (const bench::RunRow& row : run.rows) {
    Json name = row.of.value("model", Json());
    if (!name.is_string()) name = row.of.value("operation", Json());
    if (name.is_string() && std::find(names.begin(), names.end(), name.get<std::string>()) == names.end())
      names.push_back(name.get<std::string>());
  }
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  constexpr std::size_t kMost = 50;
  return one_line(text.size() > kMost ? text.substr(0, kMost) + "..." : text);
}

Json summary(const Run& run) {
  return {{"run", bench::run_digest(run).hex()},
          {"kind", run.kind},
          {"started", utc_time(run.started_unix_s)},
          {"machine", bench::machine_name(run.machine)},
          {"isa", run.settings.value("isa", Json())},
          {"commit", run.build.value("commit", Json())},
          {"rows", run.rows.size()},
          {"subject", subject(run)}};
}

}  // namespace

Result<int> bench_runs(const Arguments& arguments) {
  Options options{"dgq bench runs [options]",
                  "Lists the runs that the registry keeps, oldest first.",
                  "  dgq bench runs\n  dgq bench runs --registry lab.db --json | jq -r '.runs[].run'\n",
                  {},
                  {},
                  {}};
  add_registry_option(options);
  options.named.add_options()("json", po::bool_switch(), "print one JSON object");
  DGQ_TRY(const bool go_on, options.parse(arguments));
  if (!go_on) return 0;
  DGQ_TRY(const std::vector<Run> runs, all_runs(registry_path(options)));
  if (options.get<bool>("json")) {
    Json list = Json::array();
    for (const Run& run : runs) list.push_back(summary(run));
    print_json({{"registry", registry_path(options).string()}, {"runs", std::move(list)}});
    return 0;
  }
  Table table({"RUN", "KIND", "STARTED", "MACHINE", ">ROWS", "WHAT"});
  for (const Run& run : runs)
    table.add({bench::run_digest(run).short_hex(), one_line(run.kind), utc_time(run.started_unix_s),
               one_line(bench::machine_name(run.machine)), std::to_string(run.rows.size()), subject(run)});
  table.print();
  return 0;
}

Result<int> bench_show(const Arguments& arguments) {
  Options options{"dgq bench show RUN [options]",
                  std::string("Prints a run again. ") + kRunReferences,
                  "  dgq bench show latest\n  dgq bench show 3f7a90 --output csv >run.csv\n"
                  "  dgq bench show results.dgqr --output sql | sqlite3 bench.db\n",
                  {},
                  {},
                  {}};
  add_output_options(options, false);
  add_registry_option(options);
  DGQ_TRY(const bool go_on, parse_with(options, arguments, {{"run", "RUN", "which"}}));
  if (!go_on) return 0;
  DGQ_TRY(const RunFormat format, output_format(options));
  DGQ_TRY(const std::vector<Run> runs, load_runs(options, options.get<std::string>("run")));
  if (format == RunFormat::csv) std::cout << rows_as_csv(runs);
  if (format == RunFormat::sql) std::cout << rows_as_sql(runs);
  if (format == RunFormat::json && runs.size() != 1)
    return Error{Errc::invalid, "these are " + std::to_string(runs.size()) +
                                    " runs, and --output json is for one: name it (dgq bench runs)"};
  for (const Run& run : runs) {
    if (format == RunFormat::json) print_json(*parse_json(bench::run_text(run), "run"));
    if (format != RunFormat::md) continue;
    std::cout << "run " << bench::run_digest(run).short_hex() << ", " << one_line(run.kind) << ", "
              << utc_time(run.started_unix_s) << ", " << one_line(bench::machine_name(run.machine)) << '\n';
    print_rows(run);
  }
  return 0;
}

Result<int> bench_export(const Arguments& arguments) {
  Options options{"dgq bench export [RUN...] -o FILE",
                  std::string("Writes runs into one file, for dgq registry import elsewhere: all of the "
                              "registry, or those named. ") +
                      kRunReferences,
                  "  dgq bench export -o results.dgqr\n  dgq bench export latest 3f7a90 -o two.dgqr\n",
                  {},
                  {},
                  {}};
  options.named.add_options()                                                                           //
      ("run", po::value<std::vector<std::string>>()->value_name("RUN"), "which; as arguments or here")  //
      ("output-file,o", po::value<std::string>()->value_name("FILE"), "the file to write");
  add_registry_option(options);
  options.positional.add("run", -1);
  DGQ_TRY(const bool go_on, options.parse(arguments));
  if (!go_on) return 0;
  if (!options.has("output-file")) return Error{Errc::invalid, "where to? say -o FILE"};
  std::vector<Run> runs;
  if (options.has("run")) {
    for (const std::string& reference : options.get<std::vector<std::string>>("run")) {
      DGQ_TRY(const std::vector<Run> more, load_runs(options, reference));
      runs.insert(runs.end(), more.begin(), more.end());
    }
  } else {
    DGQ_TRY(runs, all_runs(registry_path(options)));
  }
  if (runs.empty()) return Error{Errc::not_found, "there is no run in " + registry_path(options).string()};
  const std::string text = bench::runs_file(runs), file = options.get<std::string>("output-file");
  DGQ_CHECK(write_file_atomic(file, std::as_bytes(std::span(text))));
  std::cout << runs.size() << (runs.size() == 1 ? " run, " : " runs, ") << size_text(text.size()) << " in "
            << file << '\n';
  return 0;
}

Result<int> bench_remove(const Arguments& arguments) {
  Options options{
      "dgq bench remove RUN", "Takes a run out of the registry.", "  dgq bench remove 3f7a90\n", {}, {}, {}};
  add_registry_option(options);
  DGQ_TRY(const bool go_on, parse_with(options, arguments, {{"run", "RUN", "which"}}));
  if (!go_on) return 0;
  DGQ_TRY(Registry registry, open_registry(options, Registry::Mode::read_write));
  DGQ_TRY(const Digest digest, remove_run(registry, options.get<std::string>("run")));
  std::cout << "removed run " << digest.short_hex() << '\n';
  return 0;
}

Result<ImportedRuns> import_runs(Registry& registry, std::string_view text, const std::string& where) {
  DGQ_TRY(const std::vector<Run> runs, bench::parse_runs_file(text, where));
  std::vector<NewRun> documents;
  for (const Run& run : runs) documents.push_back({run.kind, run.started_unix_s, bench::run_text(run)});
  DGQ_TRY(const AddedRuns added, add_runs(registry, documents));
  return ImportedRuns{runs.size(), added.added};
}

}  // namespace dgq::tools
