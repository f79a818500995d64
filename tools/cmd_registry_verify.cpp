// tools/cmd_registry_verify.cpp - `dgq registry verify`: checks everything, and with --repair puts back what it can.
#include "registry/layer_cache.h"
#include "registry/repair.h"
#include "tools/signature_output.h"

namespace dgq::tools {
namespace {

namespace po = boost::program_options;

struct Checked {
  VerifyReport blobs, files;
  std::vector<std::string> faults;  // of both, and of the policy
  std::vector<std::string> notes;   // no faults
  RepairReport repair;              // what it did; empty without --repair
};

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

// What nothing needs. In a damaged registry some of it cannot be told, and is not what one wants to know.
Result<std::vector<std::string>> unreferenced(Registry& registry, const LayerCache& cache) {
  std::vector<std::string> notes;
  DGQ_TRY(const std::vector<BlobInfo> blobs, registry.blobs());
  DGQ_TRY(const std::vector<BlobInfo> unneeded, registry.unneeded_blobs());
  DGQ_TRY(const RegistryUsage usage, registry.usage());
  std::set<Digest> needed;
  for (const BlobInfo& blob : blobs) needed.insert(blob.digest);
  for (const BlobInfo& blob : unneeded) needed.erase(blob.digest);
  DGQ_TRY(const LayerCache::Files files, cache.not_of(needed));
  if (!unneeded.empty())
    notes.push_back(counted(unneeded.size(), "blob") + " that no version needs, " +
                    size_text(usage.gc_bytes) + " (dgq registry gc)");
  if (files.count > 0)
    notes.push_back(counted(files.count, "layer file") + " that no version needs, " + size_text(files.bytes) +
                    " (dgq registry gc)");
  if (usage.interrupted_imports > 0)
    notes.push_back(counted(usage.interrupted_imports, "interrupted import") +
                    " (import again to go on, or dgq registry gc --interrupted)");
  return notes;
}

Result<Checked> check(const Options& options, Registry& registry, const std::optional<std::string>& only,
                      Progress& progress) {
  const BlobProgress show = [&](std::uint64_t done, std::uint64_t total) {
    progress.update("checking", total == 0 ? 1.0 : static_cast<double>(done) / static_cast<double>(total));
  };
  LayerCache cache(cache_folder(options));
  Checked checked;
  if (only) {
    DGQ_TRY(checked.blobs, verify_version(registry, *only));
  } else if (options.get<bool>("repair")) {
    RepairSources sources{cache_folder(options), {}};
    if (options.has("from"))
      for (const std::string& from : options.get<std::vector<std::string>>("from"))
        sources.given.emplace_back(from);
    DGQ_TRY(checked.repair, repair(registry, sources, show));
    checked.blobs = checked.repair.registry, checked.files = checked.repair.files;
    checked.notes = checked.repair.notes;
  } else {
    DGQ_TRY(checked.blobs, registry.verify(show));
    DGQ_TRY(checked.files, cache.verify(show));
  }
  checked.faults = checked.blobs.faults;
  checked.faults.insert(checked.faults.end(), checked.files.faults.begin(), checked.files.faults.end());
  if (only) return checked;
  if (const auto notes = unreferenced(registry, cache))
    checked.notes.insert(checked.notes.end(), notes->begin(), notes->end());
  return checked;
}

Json as_json(const Registry& registry, const Checked& checked) {
  Json restored = Json::array(), lost = Json::array();
  for (const RepairReport::Restored& thing : checked.repair.restored)
    restored.push_back({{"what", thing.what}, {"from", thing.from}});
  for (const RepairReport::Lost& thing : checked.repair.lost)
    lost.push_back({{"what", thing.what}, {"needed_by", thing.versions}});
  return {{"registry", registry.path().string()},
          {"ok", checked.faults.empty()},
          {"database_damaged", checked.blobs.database_damaged},
          {"blobs_checked", checked.blobs.blobs_checked},
          {"bytes_checked", checked.blobs.bytes_checked},
          {"files_checked", checked.files.blobs_checked},
          {"file_bytes_checked", checked.files.bytes_checked},
          {"faults", checked.faults},
          {"notes", checked.notes},
          {"restored", std::move(restored)},
          {"lost", std::move(lost)}};
}

void print_lost(const RepairReport::Lost& thing) {
  std::cout << "lost: " << one_line(thing.what);
  for (std::size_t i = 0; i < thing.versions.size(); ++i)
    std::cout << (i == 0 ? ", needed by " : "; ") << thing.versions[i];
  std::cout << '\n';
}

void print_text(const Checked& checked, bool repaired) {
  for (const RepairReport::Restored& thing : checked.repair.restored)
    std::cout << "restored: " << one_line(thing.what) << " from " << one_line(thing.from) << '\n';
  for (const std::string& fault : checked.faults) std::cout << "fault: " << one_line(fault) << '\n';
  for (const RepairReport::Lost& thing : checked.repair.lost) print_lost(thing);
  for (const std::string& note : checked.notes) std::cout << "note: " << one_line(note) << '\n';
  std::cout << counted(checked.blobs.blobs_checked, "blob") << " (" << size_text(checked.blobs.bytes_checked)
            << ") and " << counted(checked.files.blobs_checked, "layer file") << " ("
            << size_text(checked.files.bytes_checked) << ") checked: "
            << (checked.faults.empty() ? "all good" : counted(checked.faults.size(), "fault")) << '\n';
  if (checked.blobs.faults.empty() && checked.files.faults.empty()) return;  // --repair does not sign
  if (checked.blobs.database_damaged)
    std::cout << "the database file itself is damaged, and nothing writes into it any more: make a new one "
                 "of what can "
                 "be read (docs/REGISTRY.md, Repair), or import the models into a new registry\n";
  else if (repaired)
    std::cout
        << "what is lost comes back with a bundle or an OCI layout that has it: --from, or import it again\n";
  else
    std::cout << "to put back what can be: dgq registry verify --repair [--from BUNDLE | OCI-FOLDER]\n";
}

}  // namespace

Result<int> registry_verify(const Arguments& arguments) {
  Options options =
      registry_options("dgq registry verify [NAME] [options]",
                       "Checks everything: the database, every manifest, every blob against its digest, "
                       "every layer file against its name, every signature; and tells what nothing needs. "
                       "With NAME only the blobs and signatures of this version. Exits with 1 when something "
                       "is wrong. With --repair, what is damaged or missing is put back from what is still "
                       "whole: other chunks, layer files, and the bundles and OCI layouts that --from names. "
                       "Then it exits with 1 only when something is lost.",
                       "  dgq registry verify\n  dgq registry verify --json | jq -r '.faults[]'\n"
                       "  dgq registry verify --repair --from /media/stick/demo.dgqb\n"
                       "  dgq registry verify demo --policy enforce\n");
  options.named.add_options()                                               //
      ("repair", po::bool_switch(), "put back what is damaged or missing")  //
      ("from", po::value<std::vector<std::string>>()->value_name("FILE"),
       "with --repair: a bundle, or the folder of an OCI layout; can be given several times");
  add_policy_option(options);
  DGQ_TRY(const bool go_on,
          parse_with(options, arguments, {},
                     {{"model", "NAME[:TAG]", "the only version to check, as the first argument or here"}}));
  if (!go_on) return 0;
  DGQ_TRY(const std::optional<Policy> policy, policy_option(options));
  std::optional<std::string> only;
  if (options.has("model")) only = options.get<std::string>("model");
  const bool json = options.get<bool>("json"), with_repair = options.get<bool>("repair");
  if (with_repair && only)
    return Error{Errc::invalid, "--repair is for the whole registry: leave " + *only + " out"};
  if (options.has("from") && !with_repair) return Error{Errc::invalid, "--from goes with --repair"};
  DGQ_TRY(Registry registry,
          open_registry(options, with_repair ? Registry::Mode::read_write : Registry::Mode::read_only));
  Progress progress(json);
  DGQ_TRY(Checked checked, check(options, registry, only, progress));
  progress.finish();
  // A damaged table is a finding as well.
  if (const auto untrusted = policy_faults(policy, registry, only))
    checked.faults.insert(checked.faults.end(), untrusted->begin(), untrusted->end());
  else
    checked.faults.push_back(untrusted.error().what);
  if (json)
    print_json(as_json(registry, checked));
  else
    print_text(checked, with_repair);
  return checked.faults.empty() ? 0 : kExitFindings;
}

}  // namespace dgq::tools
