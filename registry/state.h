// registry/state.h - what Registry and Ingest are inside. Internal to registry/.
#pragma once

#include "base/file.h"
#include "registry/chunk.h"
#include "registry/registry.h"
#include "registry/sqlite.h"

namespace dgq {

struct Registry::State {
  std::filesystem::path path;
  std::unique_ptr<sqlite::Db> db;
  bool writable = false;

  Result<void> require_writable() const;
  // Points name at the version and writes the audit row, unless it pointed there.
  Result<void> move_tag(const ModelRef& name, std::int64_t version, const Digest& digest, const char* action);
  Result<std::optional<std::int64_t>> find_blob(const Digest& digest);
  // The chunks of a blob, each decoded and checked, in order. Call inside a transaction.
  Result<void> read_chunks(std::int64_t blob,
                           const std::function<Result<void>(std::span<const std::byte>)>& sink);
  Result<void> read_blob(const Digest& digest,
                         const std::function<Result<void>(std::span<const std::byte>)>& sink);
  // Frees blobs that no version and no running add needs.
  Result<GcReport> sweep_blobs();
  // Gives free pages back to the disk.
  Result<void> shrink();
  // Forgets adds whose process has died (ingest.cpp); how many.
  Result<std::int64_t> reap_dead_ingests();
};

struct Ingest::State {
  Registry::State* registry;
  std::int64_t id;
  Fd lock;  // holds byte `id` of the lock file while this add lives
  bool committed = false;
  ChunkEncoder encoder;

  ~State();
  Result<std::int64_t> store(std::string_view name, const Digest& digest, std::span<const std::byte> bytes);
  Result<void> write_chunks(std::int64_t blob, std::span<const std::byte> bytes);
};

}  // namespace dgq
