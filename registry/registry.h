// registry/registry.h - the catalogue and store of models: one SQLite file (DESIGN 4, docs/FORMAT.md).
//
// Versions never change; tags move; every change leaves an audit row. Readers see whole versions only. Every
// call returns an Error instead of throwing. A Registry object belongs to one thread at a time; processes
// share the file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/file.h"
#include "base/result.h"
#include "registry/inquiry.h"
#include "registry/manifest.h"

namespace dgq {

// Where the registry is when no flag says so: $DGQ_REGISTRY, else $XDG_DATA_HOME/dgq/registry.db, else
// ~/.local/share/dgq/registry.db.
std::filesystem::path default_registry_path();

struct TagInfo {
  std::string model, tag;
  Digest version;
  std::int64_t updated_unix_s;
  std::uint64_t bytes, stored_bytes;  // of its different blobs; others may share them
};
struct VersionInfo {
  Digest digest;
  Manifest manifest;
  std::int64_t created_unix_s;
  std::vector<std::string> tags;
};
struct BlobInfo {
  Digest digest;
  std::uint64_t bytes, stored_bytes;
};  // stored_bytes: compressed
struct GcReport {
  std::uint64_t blobs_removed = 0, bytes_freed = 0, files_removed = 0;
  std::uint64_t interrupted_imports = 0;  // whose blobs are kept for when they go on
};
struct VerifyReport {
  std::uint64_t blobs_checked = 0, bytes_checked = 0;
  std::vector<std::string> faults;
  std::vector<Digest> damaged;  // of blobs (or layer files) that are there and do not match their digest
  bool database_damaged =
      false;  // SQLite's own pages or indexes contradict themselves: nothing may be written any more
};
struct BundleSummary {
  struct Version {
    Digest digest;
    std::vector<std::string> names;
  };
  std::vector<Version> versions;
  std::optional<Digest> since;
  std::uint64_t blobs = 0, bytes = 0;               // in the bundle; raw bytes
  std::uint64_t blobs_left_out = 0, new_blobs = 0;  // by --since; that the registry did not have (import)
  std::vector<std::string> warnings;                // of the policy on signatures, one line each (import)
};
struct RegistryStats {
  std::uint64_t versions, blobs, raw_bytes, stored_bytes;
};

struct VersionDiff {
  VersionInfo a, b;
  std::vector<BlobDiff> blobs;  // as in A, then those only in B
};
// A name that was given to a version; `from` is the name that the version was known by.
struct NameGiven {
  ModelRef from, to;
  Digest version;
  std::string warning = {};  // of the policy on signatures; may be empty
};

// Bytes of blobs: done, of all.
using BlobProgress = std::function<void(std::uint64_t done, std::uint64_t total)>;

class Ingest;

class Registry {
 public:
  struct State;  // registry/state.h, internal
  enum class Mode { read_only, read_write };
  // create: makes the file (and its folder) when it does not exist. Errors: not_found (says how to init),
  // corrupt (not a database, not ours), unsupported (newer than this build: upgrade dgq), io.
  static Result<Registry> open(const std::filesystem::path& path, Mode mode, bool create = false);
  Registry(Registry&&) noexcept;
  Registry& operator=(Registry&&) noexcept;
  ~Registry();
  const std::filesystem::path& path() const;
  State& state() { return *state_; }  // for the rest of registry/

  Result<std::vector<TagInfo>> list();
  // By "model[:tag]" or by a digest prefix of at least 8 hex digits. not_found names what there is.
  Result<VersionInfo> resolve(std::string_view reference);
  // A version that has lost its last tag can still be tagged (an undo), until gc. Returns the warning of the policy on
  // signatures, or nothing. untrusted: the policy refuses it, as in copy, rename and imports.
  Result<std::string> tag(const Digest& version, const ModelRef& name);
  // Removes the tag and returns the version it named; a version without tags is gone for readers and its
  // blobs are freed by gc.
  Result<Digest> remove(const ModelRef& name);
  // Second names: of one version (MODEL[:TAG] each, when either has a tag), or of all tags of a model (MODEL each). One
  // transaction. copy moves names that exist; rename takes the old names away, and an existing new one is invalid.
  Result<std::vector<NameGiven>> copy(std::string_view from, std::string_view to);
  Result<std::vector<NameGiven>> rename(std::string_view from, std::string_view to);
  // The blobs of an interrupted import are kept for a week, unless `interrupted_imports` says to free them.
  Result<GcReport> gc(bool interrupted_imports = false);
  // Hashes every blob, checks the database and every manifest. Faults are findings, not Errors.
  Result<VerifyReport> verify(const BlobProgress& progress = {});
  Result<RegistryStats> stats();
  // The blobs that gc would free now.
  Result<std::vector<BlobInfo>> unneeded_blobs();
  // Writes the named versions (as resolve() takes them) with their blobs as one bundle; chunks go as they are stored. A
  // version named by its digest keeps all its names, else the one that was said. since: leaves out the blobs of that
  // version. Every blob is checked on its way: after an Error what was written is not a bundle.
  Result<BundleSummary> export_bundle(const std::vector<std::string>& references,
                                      const std::optional<std::string>& since, const ByteSink& sink,
                                      const BlobProgress& progress = {});
  // Reads a bundle (`where` names it in Errors) and adds its versions under their names, which move if they were there:
  // all in one transaction, after everything has matched its digest. Interrupted anywhere, the blobs that were whole are
  // kept for the next import of the same bundle (gc). While a blob arrives other writers wait, so a source should
  // not stall. not_found: blobs that the bundle left out are not here.
  Result<BundleSummary> import_bundle(const ByteSource& source, const std::string& where,
                                      const BlobProgress& progress = {});
  // The same as a folder: an OCI image layout (docs/REGISTRY.md), each blob a file of its raw bytes. `folder` must be empty or
  // not there. Import: a version without a name in the layout needs one; `name` replaces those of a single version. Every file
  // is checked against its digest, and no link is followed.
  Result<BundleSummary> export_oci(const std::vector<std::string>& references,
                                   const std::filesystem::path& folder, const BlobProgress& progress = {});
  Result<BundleSummary> import_oci(const std::filesystem::path& folder, const std::optional<ModelRef>& name,
                                   const BlobProgress& progress = {});
  // The files that a version was made from, as commit() was told; from the audit log.
  Result<std::vector<FileDigest>> sources(const Digest& version);
  // What making the version took, as the last commit() of it was told; from the audit log. Empty: it was not told.
  Result<std::string> costs(const Digest& version);
  // What was measured of a version, any text each, oldest first; from and into the audit log. not_found: there is no such version.
  Result<std::vector<std::string>> measurements(const Digest& version);
  Result<void> add_measurement(const Digest& version, std::string_view measured);
  Result<std::vector<BlobInfo>> blobs();  // all of them, in the order of their storing
  // The different blobs of a version.
  Result<std::vector<BlobUse>> blob_uses(const Digest& version);
  // As stored: its SHA-256 is the version.
  Result<std::string> manifest_text(const Digest& version);
  // Oldest first. not_found: nothing was ever about that name. With a name come also the rows about its versions.
  Result<std::vector<AuditEntry>> log(const AuditQuery& query);
  // Reads the head of every chunk, not its bytes.
  Result<RegistryUsage> usage();
  // a, b: as resolve() takes them. Memory: two chunks of either side. Digests are for verify().
  Result<VersionDiff> diff(std::string_view a, std::string_view b);
  // The abandoned folders of <registry>.work; `remove` takes them away and leaves an audit row. Other folders stay as they are.
  Result<AbandonedWork> abandoned_work(bool remove);

  // Streams a blob's bytes in order, chunk by chunk, checking each chunk; the digest is checked at the end
  // (corrupt).
  Result<void> read_blob(const Digest& digest, const ByteSink& sink);

  // Starts adding a version. Blobs that a killed process left behind are cleaned up here.
  Result<Ingest> begin_ingest();

 private:
  friend class Ingest;
  explicit Registry(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Adds one version. Nothing is visible to readers until commit(); destroyed without commit, the registry is
// as before. Two processes may add at once; the Registry must outlive the Ingest.
class Ingest {
 public:
  struct State;  // registry/state.h, internal
  Ingest(Ingest&&) noexcept;
  Ingest& operator=(Ingest&&) noexcept;
  ~Ingest();
  // Stores the bytes (or finds them there: same digest) under this ingest. Durable when it returns.
  Result<BlobRef> add_blob(std::string_view name, std::string_view media, std::span<const std::byte> bytes);
  // The same, giving the file's pages back behind itself: takes memory for a few chunks, however long the file.
  Result<BlobRef> add_blob(std::string_view name, std::string_view media, const MappedFile& file);
  // One transaction: the version, its references, the tag (moved if it existed), the audit rows. All blobs of
  // the manifest must be there. Returns the version's digest; the same version again is fine.
  // For the audit log, since they differ where the version does not: sources, the files that it was made from; costs, the time
  // and memory that making it took (any text, kept as it is).
  Result<Digest> commit(const Manifest& manifest, const ModelRef& name,
                        const std::vector<FileDigest>& sources = {}, const std::string& costs = {});

 private:
  friend class Registry;
  explicit Ingest(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace dgq
