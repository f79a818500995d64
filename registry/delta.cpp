// registry/delta.cpp - new blobs stored against those of the version before (docs/REGISTRY.md).
//
// It happens when the blobs are stored already, because only commit() knows the name, and with it the version before.
// Killed in between, an add has the same bytes as without it.
#include "registry/state.h"

namespace dgq {

using sqlite::Statement;
using sqlite::Transaction;

namespace {

// A delta costs reading two chunks instead of one, and keeps its base from gc. What is worth it: docs/REGISTRY.md.
constexpr std::size_t worthwhile_bytes(std::size_t plain) { return plain - plain / 4; }

// The manifest of the version that the name points at. nullopt when there is none or it is damaged (verify says so).
Result<std::optional<Manifest>> version_before(sqlite::Db& db, const ModelRef& name) {
  DGQ_TRY(Statement row, db.query("SELECT v.manifest FROM tag t JOIN version v ON v.id = t.version "
                                  "WHERE t.model = ? AND t.tag = ?",
                                  name.model, name.tag));
  DGQ_TRY(const bool found, row.step());
  if (!found) return std::optional<Manifest>();
  auto manifest = Manifest::parse(row.text(0), name.text());
  return manifest ? std::optional(std::move(*manifest)) : std::nullopt;
}

// A blob that only this add has, that is stored plainly, and that is nobody's base.
constexpr const char* kNewBlob = R"sql(
SELECT id FROM blob b WHERE digest = ?1
  AND id IN (SELECT blob FROM ingest_blob WHERE ingest = ?2)
  AND id NOT IN (SELECT blob FROM version_blob)
  AND NOT EXISTS (SELECT 1 FROM chunk WHERE base = b.id)
  AND NOT EXISTS (SELECT 1 FROM chunk WHERE blob = b.id AND base IS NOT NULL))sql";

// The blob of the version before, or what that one is stored against: chains are one deep.
constexpr const char* kBase = R"sql(
SELECT coalesce((SELECT min(base) FROM chunk WHERE blob = b.id AND base IS NOT NULL), b.id) FROM blob b
WHERE digest = ?1)sql";

}  // namespace

Result<bool> Ingest::State::store_deltas(const Manifest& manifest, const ModelRef& name) {
  sqlite::Db& db = *registry->db;
  DGQ_TRY(const std::optional<Manifest> before, version_before(db, name));
  if (!before) return false;
  bool any = false;
  for (const BlobRef& blob : manifest.blobs) {
    const BlobRef* old = before->find(blob.name);
    if (!old || old->digest == blob.digest) continue;
    DGQ_TRY(Transaction transaction, Transaction::begin(db, Transaction::Kind::write));
    DGQ_TRY(const auto target, db.find_integer(kNewBlob, blob.digest, id));
    DGQ_TRY(const auto base, db.find_integer(kBase, old->digest));
    if (!target || !base || *target == *base) continue;
    const auto stored = store_against(*target, *base);
    if (!stored && stored.error().code == Errc::corrupt)
      continue;  // a damaged base: rolled back, plain is fine
    DGQ_CHECK(stored);
    DGQ_CHECK(transaction.commit());
    any = true;
  }
  return any;
}

Result<void> Ingest::State::store_against(std::int64_t blob, std::int64_t base) {
  sqlite::Db& db = *registry->db;
  ChunkReader chunks(db), bases(db);
  for (std::int64_t position = 0;; ++position) {
    DGQ_TRY(const auto chunk, chunks.find(blob, position));
    DGQ_TRY(const auto prefix, bases.find(base, position));
    if (!chunk || !prefix) break;
    const auto delta = encoder.encode_against(prefix->raw, chunk->raw, worthwhile_bytes(chunk->stored_bytes));
    if (delta.empty()) continue;
    DGQ_CHECK(db.run("UPDATE chunk SET codec = ?, base = ?, data = ? WHERE blob = ? AND position = ?",
                     static_cast<std::int64_t>(ChunkCodec::zstd), base, delta, blob, position));
  }
  return add_up(blob);
}

}  // namespace dgq
