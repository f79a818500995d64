// tools/cmd_registry_bundle.cpp - `dgq registry export` and `import`: versions as one file, or as an OCI image layout.
#include <fcntl.h>
#include <unistd.h>

#include <cstring>

#include "bench/run.h"
#include "registry/registry.h"
#include "tools/cmd_bench.h"
#include "tools/registry_output.h"

namespace dgq::tools {
namespace {

namespace po = boost::program_options;

// Where a bundle goes: a file that takes its name when it is whole, or stdout.
class Output {
 public:
  static Result<Output> open(const std::string& name) {
    Output output;
    if (name == "-") {
      if (::isatty(STDOUT_FILENO))
        return Error{Errc::invalid, "a bundle is not for a terminal: name a file, or send it into a pipe"};
      return output;
    }
    std::error_code ignored;
    if (const auto status = std::filesystem::status(name, ignored);
        std::filesystem::exists(status) && !std::filesystem::is_regular_file(status))
      return Error{Errc::invalid, name + " is not a regular file; to write into it: -o - >" + name};
    DGQ_TRY(AtomicFile file, AtomicFile::create(name));
    output.file_.emplace(std::move(file));
    return output;
  }
  Result<void> write(std::span<const std::byte> bytes) {
    written_ += bytes.size();
    return file_ ? file_->append(bytes) : write_all(STDOUT_FILENO, bytes, "to stdout");
  }
  Result<void> commit() { return file_ ? file_->commit() : Result<void>(); }
  std::uint64_t written() const { return written_; }

 private:
  std::optional<AtomicFile> file_;
  std::uint64_t written_ = 0;
};

BlobProgress show(Progress& progress, const char* label) {
  return [&progress, label](std::uint64_t done, std::uint64_t total) {
    progress.update(label, total == 0 ? 1.0 : static_cast<double>(done) / static_cast<double>(total));
  };
}

Json as_json(const Registry& registry, const BundleSummary& summary) {
  Json versions = Json::array();
  for (const BundleSummary::Version& version : summary.versions)
    versions.push_back({{"version", version.digest.hex()}, {"names", version.names}});
  return {{"registry", registry.path().string()},
          {"versions", std::move(versions)},
          {"since", summary.since ? Json(summary.since->hex()) : Json()},
          {"blobs", summary.blobs},
          {"bytes", summary.bytes},
          {"blobs_left_out", summary.blobs_left_out}};
}

void print_versions(std::ostream& out, const BundleSummary& summary) {
  for (const BundleSummary::Version& version : summary.versions) {
    out << version.digest.short_hex();
    for (const std::string& name : version.names) out << "  " << name;
    out << '\n';
  }
}

std::string blobs_text(const BundleSummary& summary) {
  std::string text = counted(summary.blobs, "blob") + ", " + human_bytes(static_cast<double>(summary.bytes));
  if (summary.blobs_left_out > 0) text += ", " + std::to_string(summary.blobs_left_out) + " left out";
  return text;
}

Result<int> export_file(const Options& options, Registry& registry) {
  const std::string file = options.get<std::string>("output");
  const bool json = options.get<bool>("json"), to_stdout = file == "-";
  if (json && to_stdout) return Error{Errc::invalid, "--json and -o - both want stdout: leave one out"};
  DGQ_TRY(Output output, Output::open(file));
  Progress progress(json);
  DGQ_TRY(const BundleSummary summary,
          registry.export_bundle(
              options.get<std::vector<std::string>>("model"),
              options.has("since") ? std::optional(options.get<std::string>("since")) : std::nullopt,
              [&](std::span<const std::byte> bytes) { return output.write(bytes); },
              show(progress, "exporting")));
  DGQ_CHECK(output.commit());
  progress.finish();
  if (json) {
    Json report = as_json(registry, summary);
    report["file"] = file;
    report["file_bytes"] = output.written();
    print_json(report);
    return 0;
  }
  std::ostream& out = to_stdout ? std::cerr : std::cout;
  print_versions(out, summary);
  out << blobs_text(summary) << "; " << human_bytes(static_cast<double>(output.written())) << " in "
      << (to_stdout ? "all" : file) << '\n';
  return 0;
}

Result<int> export_layout(const Options& options, Registry& registry) {
  if (options.has("since"))
    return Error{Errc::invalid, "--since is for bundles: a container registry skips what it has by itself"};
  const std::string folder = options.get<std::string>("oci");
  const bool json = options.get<bool>("json");
  Progress progress(json);
  DGQ_TRY(const BundleSummary summary, registry.export_oci(options.get<std::vector<std::string>>("model"),
                                                           folder, show(progress, "exporting")));
  progress.finish();
  if (json) {
    Json report = as_json(registry, summary);
    report["folder"] = folder;
    print_json(report);
    return 0;
  }
  print_versions(std::cout, summary);
  std::cout << blobs_text(summary) << " in " << folder << '\n';
  return 0;
}

// A file or stdin whose first bytes have been looked at.
class Input {
 public:
  static Result<Input> open(const std::string& file) {
    Input input;
    input.where_ = file == "-" ? "the file on stdin" : file;
    if (file != "-") {
      std::error_code ignored;
      if (std::filesystem::is_directory(file, ignored))
        return Error{Errc::invalid, file + " is a folder; if it is an OCI layout: --oci " + file};
      input.opened_ = Fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
      if (!input.opened_) return errno_error("open", file, errno);
    }
    constexpr std::size_t kLooked = 16;
    input.beginning_.resize(kLooked);
    std::size_t have = 0;
    while (have < kLooked) {
      DGQ_TRY(const std::size_t got,
              read_some(input.fd(), std::as_writable_bytes(std::span(input.beginning_).subspan(have)),
                        input.where_));
      if (got == 0) break;
      have += got;
    }
    input.beginning_.resize(have);
    return input;
  }
  const std::string& where() const { return where_; }
  const std::string& beginning() const { return beginning_; }
  Result<std::size_t> read(std::span<std::byte> bytes) {
    if (given_ == beginning_.size()) return read_some(fd(), bytes, where_);
    const std::size_t count = std::min(bytes.size(), beginning_.size() - given_);
    std::memcpy(bytes.data(), beginning_.data() + given_, count);
    given_ += count;
    return count;
  }
  Result<std::string> read_all(std::size_t most) {
    std::string text;
    char piece[65536];
    while (true) {
      DGQ_TRY(const std::size_t got, read(std::as_writable_bytes(std::span(piece))));
      if (got == 0) return text;
      text.append(piece, got);
      if (text.size() > most)
        return Error{Errc::invalid, where_ + " has more than " + std::to_string(most) + " bytes"};
    }
  }

 private:
  int fd() const { return opened_ ? opened_.get() : STDIN_FILENO; }
  Fd opened_;
  std::string where_, beginning_;
  std::size_t given_ = 0;  // of beginning_, again
};

Result<int> import_runs_file(Input& input, Registry& registry, bool json) {
  DGQ_TRY(const std::string text, input.read_all(bench::kMaxRunsFile));
  DGQ_TRY(const ImportedRuns runs, import_runs(registry, text, input.where()));
  if (json)
    print_json({{"registry", registry.path().string()},
                {"file", input.where()},
                {"runs", runs.runs},
                {"new_runs", runs.added}});
  else
    std::cout << counted(runs.runs, "run") << " of dgq bench; " << runs.added << " were new in "
              << registry.path().string() << '\n';
  return 0;
}

}  // namespace

Result<int> registry_export(const Arguments& arguments) {
  Options options = registry_options(
      "dgq registry export MODEL[:TAG]... -o FILE | --oci FOLDER [options]",
      "Writes versions with all their blobs into one file (a bundle) for another registry. FILE - is stdout. "
      "With --since, blobs that the other registry has already, with that version, are left out. "
      "With --oci, writes an OCI image layout, which skopeo copies into any container registry.",
      "  dgq registry export demo -o demo.dgqb\n"
      "  dgq registry export demo:stable demo:next -o /media/stick/demo.dgqb\n"
      "  dgq registry export demo --since demo:stable -o update.dgqb\n"
      "  dgq registry export demo -o - | ssh device dgq registry import -\n"
      "  dgq registry export demo --oci demo.oci && skopeo copy oci:demo.oci "
      "docker://registry.local/demo:latest\n");
  options.named.add_options()  //
      ("model", po::value<std::vector<std::string>>()->value_name("NAME[:TAG]"),
       "what to export, as arguments or here")                                                              //
      ("output,o", po::value<std::string>()->value_name("FILE"), "the file to write; - for stdout")         //
      ("since", po::value<std::string>()->value_name("NAME[:TAG]"), "leave out the blobs of this version")  //
      ("oci", po::value<std::string>()->value_name("FOLDER"),
       "write an OCI image layout here instead of a file");
  options.positional.add("model", -1);
  DGQ_TRY(const bool go_on, options.parse(arguments));
  if (!go_on) return 0;
  if (!options.has("model")) return Error{Errc::invalid, "which model? (see dgq registry export --help)"};
  if (options.has("oci") == options.has("output"))
    return Error{Errc::invalid, "where to? say -o FILE (- for stdout), or --oci FOLDER"};
  DGQ_TRY(Registry registry, Registry::open(registry_path(options), Registry::Mode::read_only));
  return options.has("oci") ? export_layout(options, registry) : export_file(options, registry);
}

Result<int> registry_import(const Arguments& arguments) {
  Options options = registry_options(
      "dgq registry import FILE | --oci FOLDER [options]",
      "Adds the versions of a bundle, or of an OCI image layout, under the "
      "names they have in it; or the runs of a file of dgq bench export. FILE - is stdin. Nothing is "
      "visible until every byte has matched its digest; run again, an "
      "interrupted import goes on with what had arrived.",
      "  dgq registry import demo.dgqb\n"
      "  dgq registry import /media/stick/demo.dgqb --json\n"
      "  dgq registry import results.dgqr\n"
      "  ssh builder dgq registry export demo -o - | dgq registry import -\n"
      "  skopeo copy docker://registry.local/demo:latest oci:demo.oci && dgq "
      "registry import --oci demo.oci\n");
  options.named.add_options()  //
      ("file", po::value<std::string>()->value_name("FILE"),
       "the bundle or runs, as the first argument or here; - for stdin")                             //
      ("oci", po::value<std::string>()->value_name("FOLDER"), "import an OCI image layout instead")  //
      ("name", po::value<std::string>()->value_name("NAME[:TAG]"), "with --oci: the name of the version");
  options.positional.add("file", 1);
  DGQ_TRY(const bool go_on, options.parse(arguments));
  if (!go_on) return 0;
  if (options.has("file") == options.has("oci"))
    return Error{Errc::invalid, "which file, or --oci FOLDER? (see dgq registry import --help)"};
  if (options.has("name") && !options.has("oci")) return Error{Errc::invalid, "--name goes with --oci"};
  std::optional<ModelRef> name;
  if (options.has("name")) {
    DGQ_TRY(name, ModelRef::parse(options.get<std::string>("name")));
  }
  const std::string source = options.get<std::string>(options.has("oci") ? "oci" : "file");
  const bool json = options.get<bool>("json");
  DGQ_TRY(Registry registry, Registry::open(registry_path(options), Registry::Mode::read_write));
  std::optional<Input> input;
  if (!options.has("oci")) {
    DGQ_TRY(input, Input::open(source));
    if (bench::is_runs_file(input->beginning())) return import_runs_file(*input, registry, json);
  }
  Progress progress(json);
  DGQ_TRY(const BundleSummary summary,
          input ? registry.import_bundle([&](std::span<std::byte> bytes) { return input->read(bytes); },
                                         input->where(), show(progress, "importing"))
                : registry.import_oci(source, name, show(progress, "importing")));
  progress.finish();
  print_warnings(summary.warnings);
  if (json) {
    Json report = as_json(registry, summary);
    report[options.has("oci") ? "folder" : "file"] = source;
    report["new_blobs"] = summary.new_blobs;
    print_json(report);
    return 0;
  }
  print_versions(std::cout, summary);
  std::cout << blobs_text(summary) << "; " << summary.new_blobs << " were new in " << registry.path().string()
            << '\n';
  return 0;
}

}  // namespace dgq::tools
