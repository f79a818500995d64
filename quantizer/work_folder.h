// quantizer/work_folder.h - the finished pieces of a job that is under way, so that a killed one goes on where it was, and so
// that several machines can each make some (docs/FORMAT.md, 7).
//
// A piece is the plan or one blob of the version to come: its bytes, and beside them a manifest of this one piece. Files appear
// whole or not at all, and the manifest last, so that what is damaged is found.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"
#include "quantizer/model_plan.h"
#include "quantizer/report.h"
#include "quantizer/stage_costs.h"
#include "registry/manifest.h"

namespace dgq {

// A job is a manifest without blobs and report: config, activation block, recipe, sources, tool. They decide the result, so
// that equal ones have equal pieces, wherever they are made.
Digest fingerprint(const Manifest& job);
// Of two manifests, with blobs or without.
bool same_job(const Manifest& a, const Manifest& b);

// The names of a version's blobs, in their order: "embedding", "layers.0", ..., "head", "tokenizer", and "chat_template"
// where the job's sources have one.
std::vector<std::string> blob_names(std::size_t layers, const Manifest& job);

class WorkFolder {
 public:
  enum class Use {
    alone,   // no other process may work here
    shared,  // others that make parts of the job may
  };
  // Makes the folder where there is none. busy: another process is at work here.
  static Result<WorkFolder> open(const std::filesystem::path& path, const Manifest& job, Use use);
  // The folder of a job that is known from its plan only. Errors of plan().
  static Result<WorkFolder> read(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  const Manifest& job() const { return job_; }

  struct Piece {
    Manifest record;  // the job with this blob, its lines of the report, and the digest of its plan
    std::vector<StageCost> costs;  // of making it
    MappedFile bytes;
    const BlobRef& blob() const { return record.blobs.front(); }
    Result<std::vector<TensorReport>> tensors() const;
  };
  // Reads and hashes the piece. not_found: not there. corrupt: damaged, so that it has to be made again. invalid: of another
  // job, or of another plan than this folder's.
  Result<Piece> find(const std::string& name) const;
  Result<void> store(const std::string& name, const char* media, std::span<const std::byte> bytes,
                     const std::vector<TensorReport>& tensors, const std::vector<StageCost>& costs) const;

  // The same of the plan; what is found or stored counts for all pieces. files: the checkpoint's, for the audit log.
  Result<ModelPlan> plan();
  Result<void> store_plan(const ModelPlan& plan, const std::vector<FileDigest>& files,
                          const std::vector<StageCost>& costs);
  // Of a job that has none: what pieces it has stands for itself.
  void begin_without_plan(const std::vector<FileDigest>& files);
  // Of the plan.
  const Json& provenance() const { return plan_provenance_; }  // the job's, `calibration` and `plan`
  const std::vector<FileDigest>& files() const { return files_; }
  const std::vector<StageCost>& plan_costs() const { return plan_costs_; }

  // Takes away the pieces, and the folder when nothing else is in it.
  void remove() const;

 private:
  WorkFolder(std::filesystem::path path, Manifest job, Fd lock)
      : path_(std::move(path)), job_(std::move(job)), lock_(std::move(lock)) {}
  Result<Piece> read_piece(const std::string& name) const;
  Result<void> write_piece(const std::string& name, const char* media, std::span<const std::byte> bytes,
                           Json provenance, const Json& report, const std::vector<StageCost>& costs) const;

  std::filesystem::path path_;
  Manifest job_;
  Fd lock_;  // locked while this object lives; none when only reading
  Json plan_provenance_;
  std::vector<FileDigest> files_;
  std::vector<StageCost> plan_costs_;
};

}  // namespace dgq
