// tools/cmd_registry.cpp - `dgq registry`: init, list, show, tag, verify, remove, gc, export, import.
#include <map>

#include "registry/layer_cache.h"
#include "registry/registry.h"
#include "tools/signature_output.h"

namespace dgq::tools {
namespace {

namespace po = boost::program_options;

void add_argument(Options& options, const char* name, const char* help) {
  options.named.add_options()(name, po::value<std::string>()->value_name("NAME"), help);
  options.positional.add(name, 1);
}

Result<std::string> argument(const Options& options, const char* name) {
  if (options.has(name)) return options.get<std::string>(name);
  return Error{Errc::invalid, std::string("missing ") + name + "; usage: " + options.usage};
}

Result<Registry> open_registry(const Options& options, Registry::Mode mode) {
  return Registry::open(registry_path(options), mode);
}

Result<int> init(const Arguments& arguments) {
  Options options =
      registry_options("dgq registry init [options]",
                       "Makes an empty registry. One that is there stays as it is (one made by an older "
                       "dgq is brought up to date).",
                       "  dgq registry init\n  dgq registry init --registry /srv/models/registry.db\n");
  DGQ_TRY(const bool go_on, options.parse(arguments));
  if (!go_on) return 0;
  const auto path = registry_path(options);
  std::error_code ignored;
  const bool existed = std::filesystem::exists(path, ignored);
  DGQ_CHECK(Registry::open(path, Registry::Mode::read_write, true));
  if (options.get<bool>("json"))
    print_json({{"registry", path.string()}, {"created", !existed}});
  else
    std::cout << path.string() << (existed ? " is there already\n" : " created\n");
  return 0;
}

struct Sizes {
  std::uint64_t raw = 0, stored = 0;
};

// Bytes of a version: raw, and what its blobs take in the registry (blobs may be shared with other versions).
Sizes sizes_of(const Manifest& manifest, const std::map<Digest, std::uint64_t>& stored) {
  Sizes sizes;
  for (const BlobRef& blob : manifest.blobs) {
    sizes.raw += blob.bytes;
    if (const auto found = stored.find(blob.digest); found != stored.end()) sizes.stored += found->second;
  }
  return sizes;
}

void print_list(const std::vector<TagInfo>& tags, const std::vector<Sizes>& sizes,
                const std::vector<std::string>& signers, const RegistryStats& stats,
                const std::string& path) {
  if (tags.empty()) {
    std::cout << path << " is empty; add a model with: dgq quantize\n";
    return;
  }
  Table table({"MODEL", "VERSION", ">SIZE", ">STORED", "UPDATED", "SIGNED"});
  for (std::size_t i = 0; i < tags.size(); ++i)
    table.add({tags[i].model + ":" + tags[i].tag, tags[i].version.short_hex(),
               human_bytes(static_cast<double>(sizes[i].raw)),
               human_bytes(static_cast<double>(sizes[i].stored)), utc_time(tags[i].updated_unix_s),
               signers[i]});
  table.print();
  std::cout << '\n'
            << stats.versions << (stats.versions == 1 ? " version, " : " versions, ") << stats.blobs
            << " different blobs, " << human_bytes(static_cast<double>(stats.raw_bytes)) << ", "
            << human_bytes(static_cast<double>(stats.stored_bytes)) << " stored in " << path << '\n';
}

Result<int> list(const Arguments& arguments) {
  Options options =
      registry_options("dgq registry list [options]", "Lists the models of the registry.",
                       "  dgq registry list\n  dgq registry list --json | jq -r '.models[].name'\n");
  DGQ_TRY(const bool go_on, options.parse(arguments));
  if (!go_on) return 0;
  DGQ_TRY(Registry registry, open_registry(options, Registry::Mode::read_only));
  DGQ_TRY(const std::vector<TagInfo> tags, registry.list());
  DGQ_TRY(const RegistryStats stats, registry.stats());
  DGQ_TRY(const std::vector<BlobInfo> blobs, registry.blobs());
  std::map<Digest, std::uint64_t> stored;
  for (const BlobInfo& blob : blobs) stored[blob.digest] = blob.stored_bytes;
  DGQ_TRY(const Trust trust, read_trust(registry));
  DGQ_TRY(Signatures signatures, all_signatures(registry, trust));
  std::vector<Sizes> sizes;
  std::vector<std::string> signers;
  Json models = Json::array();
  for (const TagInfo& tag : tags) {
    const std::string name = tag.model + ":" + tag.tag;
    DGQ_TRY(const VersionInfo version, registry.resolve(name));
    sizes.push_back(sizes_of(version.manifest, stored));
    const std::vector<SignatureInfo>& by = signatures[tag.version];
    const Verdict verdict = trust.judge(by, tag.model);
    signers.push_back(signed_cell(verdict, !by.empty()));
    models.push_back({{"name", name},
                      {"version", tag.version.hex()},
                      {"bytes", sizes.back().raw},
                      {"stored_bytes", sizes.back().stored},
                      {"updated", utc_time(tag.updated_unix_s)},
                      {"signed", signed_json(verdict, !by.empty())}});
  }
  const std::string path = registry.path().string();
  if (!options.get<bool>("json")) {
    print_list(tags, sizes, signers, stats, path);
    return 0;
  }
  print_json({{"registry", path},
              {"models", std::move(models)},
              {"versions", stats.versions},
              {"blobs", stats.blobs},
              {"bytes", stats.raw_bytes},
              {"stored_bytes", stats.stored_bytes}});
  return 0;
}

// A whole digest may also name a version that has lost its last tag: that is how a remove is undone before
// gc.
Result<Digest> find_version(Registry& registry, const std::string& reference) {
  if (const auto digest = Digest::parse(reference)) return *digest;
  DGQ_TRY(const VersionInfo version, registry.resolve(reference));
  return version.digest;
}

Result<int> tag(const Arguments& arguments) {
  Options options =
      registry_options("dgq registry tag SOURCE NAME[:TAG] [options]",
                       "Gives a version another name, or moves a name to it. SOURCE is MODEL[:TAG] or a "
                       "digest (8 or more digits).",
                       "  dgq registry tag demo:latest demo:stable\n"
                       "  dgq registry tag 3f7a90c1 demo:latest     (back to an earlier version)\n");
  add_argument(options, "source", "the version, as the first argument or here");
  add_argument(options, "name", "the name it gets, as the second argument or here");
  DGQ_TRY(const bool go_on, options.parse(arguments));
  if (!go_on) return 0;
  DGQ_TRY(const std::string source, argument(options, "source"));
  DGQ_TRY(const std::string text, argument(options, "name"));
  DGQ_TRY(const ModelRef name, ModelRef::parse(text));
  DGQ_TRY(Registry registry, open_registry(options, Registry::Mode::read_write));
  DGQ_TRY(const Digest version, find_version(registry, source));
  DGQ_CHECK(registry.tag(version, name));
  if (options.get<bool>("json"))
    print_json({{"registry", registry.path().string()}, {"name", name.text()}, {"version", version.hex()}});
  else
    std::cout << name.text() << " is now version " << version.short_hex() << '\n';
  return 0;
}

Result<int> remove(const Arguments& arguments) {
  Options options =
      registry_options("dgq registry remove MODEL[:TAG] [options]",
                       "Removes a name. A version without a name is gone; `dgq registry gc` frees its "
                       "bytes. Until then `dgq registry tag DIGEST NAME` brings it back.",
                       "  dgq registry remove demo:old\n");
  add_argument(options, "model", "the name, as the first argument or here");
  DGQ_TRY(const bool go_on, options.parse(arguments));
  if (!go_on) return 0;
  DGQ_TRY(const std::string text, argument(options, "model"));
  DGQ_TRY(const ModelRef name, ModelRef::parse(text));
  DGQ_TRY(Registry registry, open_registry(options, Registry::Mode::read_write));
  DGQ_TRY(const Digest version, registry.remove(name));
  if (options.get<bool>("json"))
    print_json({{"registry", registry.path().string()}, {"name", name.text()}, {"version", version.hex()}});
  else
    std::cout << name.text() << " removed; it was version " << version.hex() << '\n';
  return 0;
}

Result<int> gc(const Arguments& arguments) {
  Options options =
      registry_options("dgq registry gc [options]",
                       "Frees the bytes of versions without a name, of adds that were killed, and of "
                       "layer files that nothing in the registry needs. Safe beside running adds and "
                       "running models. What an interrupted import has brought is kept for a week.",
                       "  dgq registry gc\n"
                       "  dgq registry gc --interrupted     (frees interrupted imports as well)\n");
  options.named.add_options()("interrupted", po::bool_switch(), "free what interrupted imports have brought");
  DGQ_TRY(const bool go_on, options.parse(arguments));
  if (!go_on) return 0;
  DGQ_TRY(Registry registry, open_registry(options, Registry::Mode::read_write));
  DGQ_TRY(GcReport report, registry.gc(options.get<bool>("interrupted")));
  DGQ_TRY(report.files_removed, LayerCache(cache_folder(options)).remove_unused(registry));
  if (options.get<bool>("json"))
    print_json({{"registry", registry.path().string()},
                {"blobs_removed", report.blobs_removed},
                {"bytes_freed", report.bytes_freed},
                {"files_removed", report.files_removed},
                {"interrupted_imports", report.interrupted_imports}});
  else {
    std::cout << report.blobs_removed << " blobs (" << human_bytes(static_cast<double>(report.bytes_freed))
              << ") and " << report.files_removed << " layer files removed\n";
    if (report.interrupted_imports > 0)
      std::cout << "kept: what " << report.interrupted_imports
                << " interrupted imports have brought (import again to go on, or gc --interrupted)\n";
  }
  return 0;
}

// Its blobs and its stored signatures; the manifest was checked when the name was found.
Result<VerifyReport> verify_version(Registry& registry, const std::string& reference) {
  DGQ_TRY(const VersionInfo version, registry.resolve(reference));
  DGQ_TRY(const Trust trust, read_trust(registry));
  VerifyReport report;
  for (const BlobRef& blob : version.manifest.blobs) {
    const auto read = registry.read_blob(blob.digest, [&](std::span<const std::byte> raw) -> Result<void> {
      report.bytes_checked += raw.size();
      return {};
    });
    ++report.blobs_checked;
    if (!read) report.faults.push_back(read.error().what + " (" + blob.name + ")");
  }
  DGQ_TRY(const std::vector<SignatureInfo> signatures, signatures_of(registry, trust, version.digest));
  for (const SignatureInfo& info : signatures)
    if (info.standing == SignatureInfo::Standing::forged)
      report.faults.push_back("a signature is not by key " + info.signature.claim.key + ", which it names");
  return report;
}

Result<int> verify(const Arguments& arguments) {
  Options options = registry_options(
      "dgq registry verify [NAME] [options]",
      "Checks everything: the database, every manifest, every blob against its digest, "
      "every layer file against its name, every signature. With NAME only the blobs and signatures "
      "of this version. Exits with 1 when something is wrong. A damaged "
      "blob is repaired by adding its model again; a damaged layer file by running it.",
      "  dgq registry verify\n  dgq registry verify --json | jq -r '.faults[]'\n"
      "  dgq registry verify demo --policy enforce\n");
  options.named.add_options()("model", po::value<std::string>()->value_name("NAME"),
                              "the only version to check, as the first argument or here");
  options.positional.add("model", 1);
  add_policy_option(options);
  DGQ_TRY(const bool go_on, options.parse(arguments));
  if (!go_on) return 0;
  const bool json = options.get<bool>("json");
  DGQ_TRY(const std::optional<Policy> policy, policy_option(options));
  DGQ_TRY(Registry registry, open_registry(options, Registry::Mode::read_only));
  Progress progress(json);
  const auto show = [&](const char* label) {
    return [&progress, label](std::uint64_t done, std::uint64_t total) {
      progress.update(label, total == 0 ? 1.0 : static_cast<double>(done) / static_cast<double>(total));
    };
  };
  std::optional<std::string> only;
  if (options.has("model")) only = options.get<std::string>("model");
  VerifyReport blobs, files;
  if (only) {
    DGQ_TRY(blobs, verify_version(registry, *only));
  } else {
    DGQ_TRY(blobs, registry.verify(show("checking blobs")));
    DGQ_TRY(files, LayerCache(cache_folder(options)).verify(show("checking layer files")));
  }
  progress.finish();
  std::vector<std::string> faults = blobs.faults;
  faults.insert(faults.end(), files.faults.begin(), files.faults.end());
  // A damaged table is a finding as well.
  const auto untrusted = policy_faults(policy, registry, only);
  if (untrusted)
    faults.insert(faults.end(), untrusted->begin(), untrusted->end());
  else
    faults.push_back(untrusted.error().what);
  if (json) {
    print_json({{"registry", registry.path().string()},
                {"ok", faults.empty()},
                {"blobs_checked", blobs.blobs_checked},
                {"bytes_checked", blobs.bytes_checked},
                {"files_checked", files.blobs_checked},
                {"file_bytes_checked", files.bytes_checked},
                {"faults", faults}});
  } else {
    for (const std::string& fault : faults) std::cout << "fault: " << fault << '\n';
    std::cout << blobs.blobs_checked << " blobs (" << human_bytes(static_cast<double>(blobs.bytes_checked))
              << ") and " << files.blobs_checked << " layer files ("
              << human_bytes(static_cast<double>(files.bytes_checked))
              << ") checked: " << (faults.empty() ? "all good" : std::to_string(faults.size()) + " faults")
              << '\n';
  }
  return faults.empty() ? 0 : 1;
}

constexpr Command kCommands[] = {
    {"init", "make an empty registry", init},
    {"list", "list the models", list},
    {"show", "show a version: blobs, provenance, recipe, per-layer report", registry_show},
    {"tag", "give a version another name, or move a name", tag},
    {"sign", "sign a version", registry_sign},
    {"policy", "show or set what happens to versions that nobody trusted has signed", registry_policy},
    {"verify", "check the registry and the layer files against their digests", verify},
    {"remove", "remove a name", remove},
    {"gc", "free what no name needs", gc},
    {"export", "write versions into one file, for another registry", registry_export},
    {"import", "add the versions of such a file", registry_import},
};

constexpr CommandGroup kRegistry = {"dgq registry", "Manages the registry of models: one SQLite file.",
                                    "  dgq registry list\n  dgq registry show demo\n  dgq registry verify\n",
                                    kCommands};

}  // namespace

Result<int> run_registry(const Arguments& arguments) { return dispatch(kRegistry, arguments); }

}  // namespace dgq::tools
