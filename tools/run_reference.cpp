#include "tools/run_reference.h"

#include <iostream>

#include "base/file.h"
#include "registry/runs.h"

namespace dgq::tools {
namespace {

constexpr std::string_view kSqlite = "SQLite format 3";

Result<bench::Run> parse(const StoredRun& stored) {
  return bench::parse_run(stored.document, "run " + stored.digest.short_hex());
}

Result<std::vector<bench::Run>> one_of_registry(const std::filesystem::path& path, const std::string& name) {
  DGQ_TRY(Registry registry, Registry::open(path, Registry::Mode::read_only));
  DGQ_TRY(const StoredRun stored, find_run(registry, name));
  DGQ_TRY(bench::Run run, parse(stored));
  return std::vector<bench::Run>{std::move(run)};
}

bool is_registry(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  if (!file || file->bytes().size() < kSqlite.size()) return false;
  return std::string_view(reinterpret_cast<const char*>(file->bytes().data()), kSqlite.size()) == kSqlite;
}

}  // namespace

Result<std::vector<bench::Run>> all_runs(const std::filesystem::path& path) {
  DGQ_TRY(Registry registry, Registry::open(path, Registry::Mode::read_only));
  DGQ_TRY(const std::vector<StoredRun> stored, list_runs(registry));
  std::vector<bench::Run> runs;
  for (const StoredRun& document : stored) {
    auto run = parse(document);
    if (run)
      runs.push_back(std::move(*run));
    else
      std::cerr << "left out: " << one_line(run.error().what) << '\n';
  }
  return runs;
}

Result<std::vector<bench::Run>> load_runs(const Options& options, const std::string& reference) {
  const std::size_t hash = reference.rfind('#');
  if (hash != reference.npos) return one_of_registry(reference.substr(0, hash), reference.substr(hash + 1));
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(reference, ignored)) {
    if (reference.find('/') != reference.npos || reference.find('.') != reference.npos)
      return Error{Errc::not_found, "there is no file " + reference};
    return one_of_registry(registry_path(options), reference);
  }
  if (is_registry(reference)) return all_runs(reference);
  DGQ_TRY(const std::string text, read_file(reference, bench::kMaxRunsFile));
  if (bench::is_runs_file(text)) return bench::parse_runs_file(text, reference);
  DGQ_TRY(bench::Run run, bench::parse_run(text, reference));
  return std::vector<bench::Run>{std::move(run)};
}

}  // namespace dgq::tools
