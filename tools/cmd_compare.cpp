// tools/cmd_compare.cpp - `dgq compare`: which of two or more benchmark runs is faster, and whether that is more than noise.
#include <unistd.h>

#include <cstdio>
#include <iostream>

#include "bench/compare.h"
#include "bench/interleave.h"
#include "bench/shapes.h"
#include "registry/runs.h"
#include "tools/cmd_bench.h"
#include "tools/registry_output.h"
#include "tools/run_reference.h"

namespace dgq::tools {
namespace po = boost::program_options;

namespace {

using bench::ComparedRow;
using bench::Comparison;
using bench::Run;

constexpr int kMinRounds = bench::kLeastPairs, kMaxRounds = 1000;

// One side of a comparison.
struct Side {
  std::string name;
  std::vector<Run> runs;
};

// "5%" or "5": a share.
Result<double> percent_option(const Options& options, const char* name) {
  std::string text = options.get<std::string>(name);
  if (text.ends_with('%')) text.pop_back();
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (!text.empty() && *end == '\0' && value >= 0 && value < 100) return value / 100;
  return Error{Errc::invalid, "--" + std::string(name) + " must be a percentage from 0 to 100, such as 5%"};
}

std::string cell(double median, const bench::Interval& interval) {
  return number("%.4g", median) + " (" + number("%.4g", interval.low) + " to " +
         number("%.4g", interval.high) + ")";
}

std::string verdict(const ComparedRow& row) {
  if (!row.significant) return "no significant difference";
  return row.speed < 1 ? "slower" : "faster";
}

void print_only_in(const char* side, const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 3;
  if (names.empty()) return;
  std::cout << "! only in " << side << ": ";
  for (std::size_t i = 0; i < std::min(kShown, names.size()); ++i)
    std::cout << (i > 0 ? "; " : "") << one_line(names[i]);
  if (names.size() > kShown) std::cout << "; and " << names.size() - kShown << " more (--json names them)";
  std::cout << '\n';
}

void print_comparison(const Side& a, const Side& b, const Comparison& comparison) {
  std::cout << "A  " << one_line(a.name) << "\nB  " << one_line(b.name) << '\n';
  for (const std::string& why : comparison.not_comparable) std::cout << "! " << one_line(why) << '\n';
  print_only_in("A", comparison.only_in_a);
  print_only_in("B", comparison.only_in_b);
  for (const std::string& difference : comparison.differences)
    std::cout << "set-up differs: " << one_line(difference) << '\n';
  Table table({"WHAT", "UNIT", ">A", ">B", ">SPEED B:A", ">p", "B IS", "TEST"});
  for (const ComparedRow& row : comparison.rows)
    table.add({one_line(row.name), one_line(row.unit), cell(row.median_a, row.interval_a),
               cell(row.median_b, row.interval_b),
               number("%.3f", row.speed) + " (" + number("%.3f", row.speed_interval.low) + " to " +
                   number("%.3f", row.speed_interval.high) + ")",
               number("%.2g", row.p), verdict(row), row.test});
  table.print();
}

Json as_json(const Side& a, const Side& b, const Comparison& comparison) {
  const auto interval = [](const bench::Interval& i) { return Json{i.low, i.high}; };
  Json rows = Json::array();
  for (const ComparedRow& row : comparison.rows)
    rows.push_back({{"what", row.name},
                    {"unit", row.unit},
                    {"median_a", row.median_a},
                    {"interval_a", interval(row.interval_a)},
                    {"samples_a", row.samples_a},
                    {"median_b", row.median_b},
                    {"interval_b", interval(row.interval_b)},
                    {"samples_b", row.samples_b},
                    {"speed", row.speed},
                    {"speed_interval", interval(row.speed_interval)},
                    {"p", row.p},
                    {"test", row.test},
                    {"significant", row.significant}});
  return {{"a", a.name},
          {"b", b.name},
          {"differences", comparison.differences},
          {"not_comparable", comparison.not_comparable},
          {"only_in_a", comparison.only_in_a},
          {"only_in_b", comparison.only_in_b},
          {"rows", std::move(rows)}};
}

bool is_program(const std::string& name) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(name, ignored) && ::access(name.c_str(), X_OK) == 0;
}

// The command line of one side: a build that runs the benchmark, or this build with a model.
Result<std::vector<std::string>> side_command(const Options& options, const std::string& side,
                                              const std::vector<std::string>& benchmark) {
  std::vector<std::string> words = {
      is_program(side) ? std::filesystem::absolute(side).string() : "/proc/self/exe", "bench"};
  words.insert(words.end(), benchmark.begin(), benchmark.end());
  if (!is_program(side)) {
    if (benchmark.front() != "model")
      return Error{Errc::invalid, side + " is no program, and models are for dgq bench model"};
    const bool shape = bench::load_shape(side).has_value();
    words.insert(words.end(), {shape ? "--shape" : "--model", side});
    if (!shape) words.insert(words.end(), {"--registry", registry_path(options).string()});
  }
  words.insert(words.end(), {"--json", "--no-save"});
  return words;
}

Result<void> save(const Options& options, const std::vector<Run>& runs) {
  const std::filesystem::path path = registry_path(options);
  std::error_code ignored;
  if (options.get<bool>("no-save") || (!options.has("registry") && !std::filesystem::exists(path, ignored)))
    return {};
  DGQ_TRY(Registry registry, Registry::open(path, Registry::Mode::read_write));
  std::vector<NewRun> documents;
  for (const Run& run : runs) documents.push_back({run.kind, run.started_unix_s, bench::run_text(run)});
  DGQ_TRY(const AddedRuns added, add_runs(registry, documents));
  for (const Digest& digest : added.digests)
    std::cerr << "saved as run " << digest.short_hex() << " in " << path.string() << '\n';
  return {};
}

Result<std::vector<Side>> take_turns(const Options& options, const std::vector<std::string>& names) {
  if (names.size() < 2) return Error{Errc::invalid, "--interleave wants two builds or two models: A B"};
  std::vector<std::string> benchmark(names.begin() + 2, names.end());
  if (benchmark.empty()) {
    benchmark = {"model", "--prompt", "64", "--gen", "16", "--repetitions", "7"};
    if (is_program(names[0])) benchmark.insert(benchmark.end(), {"--shape", "smollm2-135m"});
  }
  bench::InterleavePlan plan;
  DGQ_TRY(plan.a, side_command(options, names[0], benchmark));
  DGQ_TRY(plan.b, side_command(options, names[1], benchmark));
  plan.rounds = options.get<int>("rounds");
  if (plan.rounds < kMinRounds || plan.rounds > kMaxRounds)
    return Error{Errc::invalid, "--rounds must be from " + std::to_string(kMinRounds) +
                                    " (fewer cannot tell) to " + std::to_string(kMaxRounds)};
  Progress progress(options.get<bool>("json"));
  DGQ_TRY(std::vector<Run> runs, bench::interleave(plan, [&](const std::string& label, double done) {
            progress.update(label, done);
          }));
  progress.finish();
  DGQ_CHECK(save(options, runs));
  return std::vector<Side>{{names[0], {std::move(runs[0])}}, {names[1], {std::move(runs[1])}}};
}

Result<std::vector<Side>> load_sides(const Options& options, const std::vector<std::string>& names) {
  if (names.size() < 2) return Error{Errc::invalid, "give two runs or more (see dgq compare --help)"};
  std::vector<Side> sides;
  for (const std::string& name : names) {
    auto runs = load_runs(options, name);
    if (runs)
      sides.push_back({name, std::move(*runs)});
    else if (sides.empty() || names.size() == 2)  // nothing is left to compare
      return runs.error();
    else
      std::cerr << "left out: " << one_line(runs.error().what) << '\n';
  }
  if (sides.size() < 2) return Error{Errc::invalid, "there is nothing left to compare with " + names.front()};
  return sides;
}

}  // namespace

Result<int> run_compare(const Arguments& arguments) {
  Options options{
      "dgq compare A B [...] | dgq compare --interleave A B [-- BENCHMARK]",
      std::string(
          "Compares benchmark runs with the first of them: differences of the set-ups, medians with 95 "
          "% bootstrap\nintervals, ratio of speeds, and whether it is significant (p < 0.01: Mann-Whitney "
          "U, or signed-rank of pairs\nfor runs that took turns).\n") +
          kRunReferences +
          "\nWith --interleave, A and B are two builds of dgq (paths of programs) or two models (shapes, or "
          "names "
          "in the\nregistry), and BENCHMARK what follows dgq bench; they run in turns: A B A B.",
      "  dgq compare 3f7a90 latest\n"
      "  dgq compare old.dgqr new.dgqr --fail-if-slower 5%\n"
      "  dgq compare lab.db#latest board.db#latest --json\n"
      "  dgq compare --interleave ./dgq-before ./dgq-after -- model --shape llama-3.2-1b --gen 32\n"
      "  dgq compare --interleave smollm2-135m qwen2.5-0.5b --rounds 60\n",
      {},
      {},
      {}};
  options.named.add_options()  //
      ("run", po::value<std::vector<std::string>>()->value_name("RUN"),
       "what to compare; as arguments or here")  //
      ("fail-if-slower", po::value<std::string>()->value_name("PERCENT"),
       "exit code 1 when something is significantly slower than A by more than this")                       //
      ("interleave", po::bool_switch(), "run A and B now, in turns")                                        //
      ("rounds", po::value<int>()->default_value(40)->value_name("N"), "with --interleave: turns of each")  //
      ("no-save", po::bool_switch(), "with --interleave: do not keep the runs in the registry")             //
      ("json", po::bool_switch(), "print one JSON object");
  add_registry_option(options);
  options.positional.add("run", -1);
  DGQ_TRY(const bool go_on, options.parse(arguments));
  if (!go_on) return 0;
  std::optional<double> slower;
  if (options.has("fail-if-slower")) {
    DGQ_TRY(slower, percent_option(options, "fail-if-slower"));
  }
  const std::vector<std::string> names =
      options.has("run") ? options.get<std::vector<std::string>>("run") : std::vector<std::string>();
  DGQ_TRY(const std::vector<Side> sides,
          (options.get<bool>("interleave") ? take_turns : load_sides)(options, names));
  Json all = Json::array();
  bool compared = false, failed = false;
  std::string why = "no rows";
  for (std::size_t i = 1; i < sides.size(); ++i) {
    const Comparison comparison = bench::compare(sides[0].runs, sides[i].runs);
    for (const ComparedRow& row : comparison.rows) {
      compared = true;
      failed |= slower && row.significant && row.speed < 1 - *slower;
    }
    if (!comparison.not_comparable.empty())
      why = comparison.not_comparable.front();
    else if (!comparison.only_in_a.empty())
      why = "only in A: " + comparison.only_in_a.front();
    if (options.get<bool>("json")) {
      all.push_back(as_json(sides[0], sides[i], comparison));
    } else if (!comparison.rows.empty()) {
      print_comparison(sides[0], sides[i], comparison);
    }
  }
  if (!compared) return Error{Errc::invalid, "nothing to compare: " + why};
  if (options.get<bool>("json")) print_json({{"comparisons", std::move(all)}});
  return failed ? kExitFindings : 0;
}

}  // namespace dgq::tools
