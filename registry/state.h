// registry/state.h - what Registry and Ingest are inside. Internal to registry/.
#pragma once

#include "base/file.h"
#include "registry/chunk_reader.h"
#include "registry/registry.h"
#include "registry/signature.h"
#include "registry/sqlite.h"

namespace dgq {

// A version with its names, as commit() takes it.
struct NewVersion {
  const Manifest& manifest;
  std::string_view text;  // of the manifest: what is hashed and stored
  std::span<const ModelRef> names;
  std::span<const Signature> signatures = {};
};

struct Registry::State {
  std::filesystem::path path;
  std::unique_ptr<sqlite::Db> db;
  bool writable = false;

  Result<void> require_writable() const;
  // Points name at the version and writes the audit row, unless it pointed there. What the policy on signatures refuses
  // (trust.h) does not move, but for `action` "add": who makes a version signs it under its name. Returns its warning, or nothing.
  Result<std::string> move_tag(const ModelRef& name, std::int64_t version, const Digest& digest,
                               const char* action);
  Result<std::optional<Digest>> named_version(const ModelRef& name);
  // The version that a reference means (Registry::resolve), by its name or the beginning of its digest.
  Result<std::optional<Digest>> find_version(std::string_view reference);
  // Of a reference that means nothing: it names what there is.
  Error unknown_model(std::string_view reference);
  Result<std::optional<std::int64_t>> find_blob(const Digest& digest);
  // The chunks of a blob, each decoded and checked, in order; read_blob() checks the digest as well, on a second thread. Call inside a
  // transaction.
  using ChunkSink = std::function<Result<void>(const StoredChunk&, std::span<const std::byte> raw)>;
  Result<void> read_chunks(std::int64_t blob, const ChunkSink& sink);
  Result<void> read_blob(const Digest& digest, const ChunkSink& sink);
  // Frees blobs that no version and no running add needs.
  Result<GcReport> sweep_blobs();
  // Gives free pages back to the disk.
  Result<void> shrink();
  // Forgets adds whose process has died (ingest.cpp); how many.
  // Those of interrupted imports stay for a week, for their next try, unless `interrupted_imports`.
  Result<std::int64_t> reap_dead_ingests(bool interrupted_imports);
  Result<std::vector<std::int64_t>> reapable_ingests(bool interrupted_imports);
  Result<std::uint64_t> interrupted_imports();
  // As Registry::begin_ingest. resume: what a later ingest of the same things goes on by; this one's blobs then stay
  // pinned when it dies or fails, and it takes over those of the dead.
  Result<std::unique_ptr<Ingest::State>> begin_ingest(const std::optional<Digest>& resume);
};

struct Ingest::State {
  Registry::State* registry;
  std::int64_t id;
  Fd lock;  // holds byte `id` of the lock file while this add lives
  bool committed = false;
  ChunkEncoder encoder;

  ~State();
  // As Ingest::commit, for several versions at once; their digests. action: of the audit rows.
  Result<std::vector<Digest>> commit(std::span<const NewVersion> versions, const char* action,
                                     const std::vector<FileDigest>& sources, const std::string& costs);
  Result<Digest> commit_version(const NewVersion& version, const char* action);

  // Called with the bytes that have been read and are not needed for now.
  using Forget = std::function<void(std::span<const std::byte>)>;
  Result<BlobRef> add_blob(std::string_view name, std::string_view media, std::span<const std::byte> bytes,
                           const Forget& forget);
  Result<std::int64_t> store(std::string_view name, const Digest& digest, std::span<const std::byte> bytes,
                             const Forget& forget);
  // The id of a blob that has no chunks: a new one, or `damaged` without those it had (leaves an audit row, with `name`).
  Result<std::int64_t> empty_blob(std::optional<std::int64_t> damaged, std::string_view name,
                                  const Digest& digest, std::uint64_t bytes);
  Result<void> encode_chunk(std::int64_t blob, std::int64_t position, std::span<const std::byte> raw);
  Result<void> insert_chunk(std::int64_t blob, const StoredChunk& chunk);
  Result<void> add_up(std::int64_t blob);  // its stored_bytes, when its chunks are there
  Result<void> pin(std::int64_t blob);

  // Stores the new blobs of this add against those of the same names in the version that `name` points at, chunk by
  // chunk where that saves clearly (delta.cpp). Whether any is.
  Result<bool> store_deltas(const Manifest& manifest, const ModelRef& name);
  Result<void> store_against(std::int64_t blob, std::int64_t base);
};

}  // namespace dgq
