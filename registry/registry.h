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
#include "base/result.h"
#include "registry/manifest.h"

namespace dgq {

// Where the registry is when no flag says so: $DGQ_REGISTRY, else $XDG_DATA_HOME/dgq/registry.db, else
// ~/.local/share/dgq/registry.db.
std::filesystem::path default_registry_path();

struct TagInfo {
  std::string model, tag;
  Digest version;
  std::int64_t updated_unix_s;
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
};
struct VerifyReport {
  std::uint64_t blobs_checked = 0, bytes_checked = 0;
  std::vector<std::string> faults;
};
struct RegistryStats {
  std::uint64_t versions, blobs, raw_bytes, stored_bytes;
};

class Ingest;

class Registry {
 public:
  enum class Mode { read_only, read_write };
  // create: makes the file (and its folder) when it does not exist. Errors: not_found (says how to init),
  // corrupt (not a database, not ours), unsupported (newer than this build: upgrade dgq), io.
  static Result<Registry> open(const std::filesystem::path& path, Mode mode, bool create = false);
  Registry(Registry&&) noexcept;
  Registry& operator=(Registry&&) noexcept;
  ~Registry();
  const std::filesystem::path& path() const;

  Result<std::vector<TagInfo>> list();
  // By "model[:tag]" or by a digest prefix of at least 8 hex digits. not_found names what there is.
  Result<VersionInfo> resolve(std::string_view reference);
  // A version that has lost its last tag can still be tagged (an undo), until gc.
  Result<void> tag(const Digest& version, const ModelRef& name);
  // Removes the tag and returns the version it named; a version without tags is gone for readers and its
  // blobs are freed by gc.
  Result<Digest> remove(const ModelRef& name);
  Result<GcReport> gc();
  // Hashes every blob, checks the database and every manifest. Faults are findings, not Errors.
  Result<VerifyReport> verify(
      const std::function<void(std::uint64_t done, std::uint64_t total)>& progress = {});
  Result<RegistryStats> stats();
  // The files that a version was made from, as commit() was told; from the audit log.
  Result<std::vector<FileDigest>> sources(const Digest& version);
  // What making the version took, as the last commit() of it was told; from the audit log. Empty: it was not told.
  Result<std::string> costs(const Digest& version);
  Result<std::vector<BlobInfo>> blobs();  // all of them, in the order of their storing

  // Streams a blob's bytes in order, chunk by chunk, checking each chunk; the digest is checked at the end
  // (corrupt).
  Result<void> read_blob(const Digest& digest,
                         const std::function<Result<void>(std::span<const std::byte>)>& sink);

  // Starts adding a version. Blobs that a killed process left behind are cleaned up here.
  Result<Ingest> begin_ingest();

 private:
  friend class Ingest;
  struct State;
  explicit Registry(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Adds one version. Nothing is visible to readers until commit(); destroyed without commit, the registry is
// as before. Two processes may add at once; the Registry must outlive the Ingest.
class Ingest {
 public:
  Ingest(Ingest&&) noexcept;
  Ingest& operator=(Ingest&&) noexcept;
  ~Ingest();
  // Stores the bytes (or finds them there: same digest) under this ingest. Durable when it returns.
  Result<BlobRef> add_blob(std::string_view name, std::string_view media, std::span<const std::byte> bytes);
  // One transaction: the version, its references, the tag (moved if it existed), the audit rows. All blobs of
  // the manifest must be there. Returns the version's digest; the same version again is fine.
  // For the audit log, since they differ where the version does not: sources, the files that it was made from; costs, the time
  // and memory that making it took (any text, kept as it is).
  Result<Digest> commit(const Manifest& manifest, const ModelRef& name,
                        const std::vector<FileDigest>& sources = {}, const std::string& costs = {});

 private:
  friend class Registry;
  struct State;
  explicit Ingest(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace dgq
