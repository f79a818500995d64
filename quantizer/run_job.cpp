#include "quantizer/run_job.h"

namespace dgq {
namespace {

Result<QuantizeResult> reuse(Registry& registry, VersionInfo there) {
  const std::string where = "version " + there.digest.short_hex();
  QuantizeResult result;
  result.version = there.digest;
  result.reused = true;
  DGQ_TRY(result.tensors, report_from_json(there.manifest.report, where));
  DGQ_TRY(const std::string costs, registry.costs(there.digest));
  DGQ_TRY(result.costs, parse_costs(costs, "costs of " + where));
  result.manifest = std::move(there.manifest);
  return result;
}

// The blob from the first folder that has it, into the version.
Result<bool> take(const std::string& name, const std::vector<WorkFolder>& folders, Ingest& ingest,
                  QuantizeResult& result) {
  for (const WorkFolder& folder : folders) {
    const auto piece = folder.find(name);
    if (!piece && piece.error().code == Errc::not_found) continue;
    if (!piece) return piece.error();
    const BlobRef& blob = piece->blob();
    DGQ_TRY(BlobRef stored, ingest.add_blob(name, blob.media, piece->bytes));
    result.manifest.blobs.push_back(std::move(stored));
    DGQ_TRY(const auto tensors, piece->tensors());
    result.tensors.insert(result.tensors.end(), tensors.begin(), tensors.end());
    result.costs.insert(result.costs.end(), piece->costs.begin(), piece->costs.end());
    return true;
  }
  return false;
}

// Whether the same job may succeed when it is run again.
bool goes_away(Errc code) { return code == Errc::io || code == Errc::busy; }

}  // namespace

Result<QuantizeResult> assemble(const std::vector<std::string>& blobs, const std::vector<WorkFolder>& folders,
                                Registry& registry, const ModelRef& name) {
  const WorkFolder& first = folders.front();
  QuantizeResult result;
  result.manifest = first.job();
  result.manifest.provenance = first.provenance();
  result.manifest.provenance.erase("plan");
  result.costs = first.plan_costs();
  DGQ_TRY(Ingest ingest, registry.begin_ingest());
  std::string missing;
  for (const std::string& blob : blobs) {
    DGQ_TRY(const bool there, take(blob, folders, ingest, result));
    if (!there) missing += (missing.empty() ? "" : ", ") + blob;
  }
  if (!missing.empty())
    return Error{Errc::invalid, "the parts are not complete: there is no " + missing + " in " +
                                    first.path().string() + (folders.size() > 1 ? " and the others" : "")};
  result.manifest.report = to_json(result.tensors);
  DGQ_TRY(result.version, ingest.commit(result.manifest, name, first.files(), to_json(result.costs).dump()));
  return result;
}

Result<QuantizeResult> run_job(const Manifest& job, Registry& registry, const ModelRef& name,
                               const QuantizeOptions& options, const MakePieces& make) {
  const std::filesystem::path beside = registry.path().string() + ".work",
                              own = beside / fingerprint(job).hex();
  const auto remove_empty = [&] {
    std::error_code not_empty;
    std::filesystem::remove(beside, not_empty);
  };
  if (!options.force) {
    Result<VersionInfo> there = registry.resolve(name.text());
    if (!there && there.error().code != Errc::not_found) return there.error();
    if (there && same_job(there->manifest, job)) {
      // Killed when its version was there already, a run has left its folder.
      if (std::filesystem::exists(own))
        if (const auto left = WorkFolder::open(own, job, WorkFolder::Use::alone)) left->remove();
      remove_empty();
      return reuse(registry, std::move(*there));
    }
  }
  std::vector<WorkFolder> folder;
  DGQ_TRY(WorkFolder opened,
          WorkFolder::open(options.work.empty() ? own : options.work, job, WorkFolder::Use::alone));
  folder.push_back(std::move(opened));
  const auto work = [&]() -> Result<QuantizeResult> {
    DGQ_TRY(const std::vector<std::string> blobs, make(folder.front()));
    return assemble(blobs, folder, registry, name);
  };
  Result<QuantizeResult> result = work();
  if (result || !goes_away(result.error().code)) {
    folder.front().remove();
    remove_empty();
  }
  return result;
}

}  // namespace dgq
