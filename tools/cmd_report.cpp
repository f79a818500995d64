// tools/cmd_report.cpp - `dgq report`: benchmark runs as one HTML page.
#include <iostream>

#include "base/file.h"
#include "bench/bench_page.h"
#include "quantizer/report.h"
#include "tools/registry_output.h"
#include "tools/run_reference.h"

namespace dgq::tools {
namespace {

namespace po = boost::program_options;

// Of the versions that have a name, what dgq eval compare --store kept: the latest each.
Result<std::vector<bench::Accuracy>> stored_accuracy(const std::filesystem::path& path) {
  DGQ_TRY(Registry registry, Registry::open(path, Registry::Mode::read_only));
  DGQ_TRY(const std::vector<TagInfo> tags, registry.list());
  std::vector<bench::Accuracy> found;
  for (const TagInfo& tag : tags) {
    DGQ_TRY(const std::vector<std::string> measurements, registry.measurements(tag.version));
    DGQ_TRY(const VersionInfo version, registry.resolve(tag.version.hex()));
    const auto tensors = report_from_json(version.manifest.report, tag.model);
    if (!tensors || tensors->empty()) continue;
    std::optional<bench::Accuracy> latest;
    for (const std::string& text : measurements) {
      const auto measured = parse_json(text, "a measurement");
      if (!measured || !measured->is_object() || !measured->value("kld", Json()).is_object()) continue;
      const Json& kld = (*measured)["kld"];
      const auto mean = json_number(kld, "mean", "kld"), error = json_number(kld, "standard_error", "kld");
      if (mean && error)
        latest = {tag.model + ":" + tag.tag, total(*tensors).bits_per_weight(), *mean, *error};
    }
    if (latest) found.push_back(std::move(*latest));
  }
  return found;
}

}  // namespace

Result<int> run_report(const Arguments& arguments) {
  Options options{
      "dgq report [RUN...] -o FILE.html",
      std::string("Writes benchmark runs as one HTML page that needs nothing else: plots and tables of all "
                  "runs of the registry, or\nof those named, and how far its models are from their "
                  "checkpoints (dgq eval compare --store).\n") +
          kRunReferences,
      "  dgq report -o report.html\n  dgq report laptop.dgqr board.dgqr -o both.html\n"
      "  dgq report --registry lab.db latest -o latest.html\n",
      {},
      {},
      {}};
  options.named.add_options()                                                                           //
      ("run", po::value<std::vector<std::string>>()->value_name("RUN"), "which; as arguments or here")  //
      ("output,o", po::value<std::string>()->value_name("FILE"), "the file to write");
  add_registry_option(options);
  options.positional.add("run", -1);
  DGQ_TRY(const bool go_on, options.parse(arguments));
  if (!go_on) return 0;
  if (!options.has("output")) return Error{Errc::invalid, "where to? say -o FILE.html"};
  std::vector<bench::Run> runs;
  const std::filesystem::path registry = registry_path(options);
  if (options.has("run")) {
    for (const std::string& reference : options.get<std::vector<std::string>>("run")) {
      auto more = load_runs(options, reference);
      if (!more) {
        std::cerr << "left out: " << one_line(more.error().what) << '\n';
        continue;
      }
      runs.insert(runs.end(), more->begin(), more->end());
    }
  } else {
    DGQ_TRY(runs, all_runs(registry));
  }
  std::vector<bench::Accuracy> accuracy;
  std::error_code ignored;
  if (options.has("registry") || std::filesystem::exists(registry, ignored)) {
    DGQ_TRY(accuracy, stored_accuracy(registry));
  }
  if (runs.empty() && accuracy.empty())
    return Error{Errc::not_found, "there is nothing to report: no runs (dgq bench model makes one)"};
  const std::string text = bench::html(runs, accuracy), file = options.get<std::string>("output");
  DGQ_CHECK(write_file_atomic(file, std::as_bytes(std::span(text))));
  std::cout << runs.size() << (runs.size() == 1 ? " run, " : " runs, ") << size_text(text.size()) << " in "
            << file << '\n';
  return 0;
}

}  // namespace dgq::tools
