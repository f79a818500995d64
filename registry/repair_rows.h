// registry/repair_rows.h - what a repair (repair.h) finds in the tables and writes into them. Each function that writes is one
// transaction, with its audit rows. Internal to registry/.
#pragma once

#include <map>

#include "registry/state.h"

namespace dgq {

// A blob that is in a manifest.
struct NeededBlob {
  std::uint64_t bytes;
  std::string name;                   // "layers.1 of demo:latest (3f7a90c1d2e3)"
  std::vector<std::string> versions;  // their names, or digest
  std::vector<std::int64_t> ids;      // of these versions
};
// A version whose manifest is missing or does not match its digest.
struct BrokenVersion {
  std::int64_t id;
  std::optional<Digest> digest;  // as its row says, or for a missing row the audit log
  std::string text;              // its manifest as it is
  std::string names;             // or digest
};
struct Needs {
  std::map<Digest, NeededBlob> blobs;
  std::vector<BrokenVersion> broken;
};
Result<Needs> read_needs(sqlite::Db& db);

// The raw bytes of the chunk at a position, exactly `size` of them; borrowed until the next call.
using RawChunks = std::function<Result<std::span<const std::byte>>(std::int64_t position, std::size_t size)>;

struct BlobRepair {
  Digest digest;
  std::uint64_t bytes;
  std::span<const std::int64_t> versions;  // ids of those that need it
  std::string note;                        // for the audit log
};
// Makes the rows of a blob what these chunks are, if they are its bytes; rows that are right and plain stay. false: they are not,
// and nothing was changed.
Result<bool> restore_blob(Registry::State& registry, const BlobRepair& blob, const RawChunks& chunks);

// Chunks that are whole, but whose row in `blob` is missing or has another digest, get the right row; `candidates` are blob ids.
// Returns the blobs that are there by that.
Result<std::vector<Digest>> adopt_chunks(Registry::State& registry, const Needs& needs,
                                         const std::vector<std::int64_t>& candidates);
// Ids in table chunk that table blob does not have, or has without a digest.
Result<std::vector<std::int64_t>> strays(sqlite::Db& db);

// text: a manifest of that digest. The row gets both, and is made where it is missing.
Result<void> restore_version(sqlite::Db& db, std::int64_t id, const Digest& digest, std::string_view text,
                             const std::string& note);
// Whether a version with that digest was ever made here.
Result<bool> was_made_here(sqlite::Db& db, const Digest& version);

// Every blob of every manifest is kept for its version, so that gc does not free it. How many were not.
Result<std::uint64_t> link_versions(sqlite::Db& db, const Needs& needs);

// A blob with its chunks; refused by the database while anything refers to it.
Result<void> drop_blob(sqlite::Db& db, std::int64_t blob, const std::string& note);
// Rows that refer to rows that are gone, and say nothing that manifests do not. `chunks`: also those of blobs that are gone.
Result<void> drop_dangling(sqlite::Db& db, bool chunks);

}  // namespace dgq
