#include "registry/repair_rows.h"

#include <algorithm>

#include "registry/audit.h"

namespace dgq {

using sqlite::Statement;
using sqlite::Transaction;

namespace {

Result<void> audit(sqlite::Db& db, const std::string& note, const std::optional<Digest>& digest) {
  return write_audit(db, "repair", note, std::nullopt, digest);
}

void add_needs(Needs& needs, std::int64_t version, const std::string& names, const Manifest& manifest) {
  const std::string first = names.substr(0, names.find(','));
  for (const BlobRef& blob : manifest.blobs) {
    NeededBlob& needed = needs.blobs[blob.digest];
    if (needed.ids.empty()) {
      needed.bytes = blob.bytes;
      needed.name = blob.name + " of " + first + " (" + blob.digest.short_hex() + ")";
    }
    if (!needed.ids.empty() && needed.ids.back() == version) continue;  // two blobs with the same bytes
    needed.ids.push_back(version);
    needed.versions.push_back(names);
  }
}

// Names that point at versions without a row; what the audit log says they were.
Result<void> add_missing_versions(sqlite::Db& db, Needs& needs) {
  DGQ_TRY(Statement rows, db.query(R"sql(
SELECT t.version, group_concat(t.model || ':' || t.tag, ', '), (SELECT a.to_digest FROM audit a
  WHERE a.subject = t.model || ':' || t.tag AND a.to_digest IS NOT NULL ORDER BY a.id DESC LIMIT 1)
FROM tag t WHERE t.version NOT IN (SELECT id FROM version) GROUP BY t.version)sql"));
  while (true) {
    DGQ_TRY(const bool row, rows.step());
    if (!row) return {};
    const auto digest = rows.digest(2);
    needs.broken.push_back(
        {rows.integer(0), digest ? std::optional(*digest) : std::nullopt, {}, std::string(rows.text(1))});
  }
}

Result<std::int64_t> new_blob_id(sqlite::Db& db) {
  // Above all that anything refers to: rows of a blob that is gone must not become those of this one.
  return db.integer(
      "SELECT 1 + max(coalesce((SELECT max(id) FROM blob), 0), coalesce((SELECT max(blob) FROM chunk), 0), "
      "coalesce((SELECT max(base) FROM chunk), 0), coalesce((SELECT max(blob) FROM version_blob), 0), "
      "coalesce((SELECT max(blob) FROM ingest_blob), 0))");
}

Result<void> insert_blob(sqlite::Db& db, std::int64_t id, const Digest& digest, std::uint64_t bytes) {
  return db.run("INSERT INTO blob(id, digest, bytes, stored_bytes) VALUES (?, ?, ?, 0)", id, digest,
                static_cast<std::int64_t>(bytes));
}

Result<void> set_sizes(sqlite::Db& db, std::int64_t id, std::uint64_t bytes) {
  return db.run(
      "UPDATE blob SET bytes = ?2, stored_bytes = (SELECT coalesce(sum(length(data)), 0) FROM chunk WHERE "
      "blob = ?1) WHERE id = ?1",
      id, static_cast<std::int64_t>(bytes));
}

Result<void> link(sqlite::Db& db, std::span<const std::int64_t> versions, std::int64_t blob) {
  for (const std::int64_t version : versions)
    DGQ_CHECK(db.run("INSERT OR IGNORE INTO version_blob(version, blob) VALUES (?, ?)", version, blob));
  return {};
}

// A chunk that is right and has no base stays. One with a base is stored plainly: the base may be what is damaged.
Result<bool> stays(ChunkReader& own, std::int64_t id, std::int64_t position, std::span<const std::byte> raw) {
  const auto found = own.find(id, position);
  if (!found && found.error().code == Errc::io) return found.error();
  return found && *found && !(*found)->based && std::ranges::equal((*found)->raw, raw);
}

Result<bool> write_chunks(sqlite::Db& db, std::int64_t id, const BlobRepair& blob, const RawChunks& chunks) {
  ChunkReader own(db);
  ChunkEncoder encoder;
  Sha256 hash;
  std::vector<std::byte> raw;  // a copy: what is borrowed may lie in rows that change now
  std::int64_t position = 0;
  for (std::uint64_t left = blob.bytes; left > 0; left -= raw.size(), ++position) {
    const auto borrowed = chunks(position, std::min<std::uint64_t>(left, kChunkBytes));
    if (!borrowed) return false;
    raw.assign(borrowed->begin(), borrowed->end());
    hash.update(raw);
    DGQ_TRY(const bool right, stays(own, id, position, raw));
    if (right) continue;
    const ChunkEncoder::Chunk chunk = encoder.encode(raw);
    DGQ_CHECK(db.run(
        "INSERT OR REPLACE INTO chunk(blob, position, codec, raw_bytes, base, data) VALUES (?, ?, ?, ?, "
        "NULL, ?)",
        id, position, static_cast<std::int64_t>(chunk.codec), static_cast<std::int64_t>(raw.size()),
        chunk.stored));
  }
  DGQ_CHECK(db.run("DELETE FROM chunk WHERE blob = ? AND (position < 0 OR position >= ?)", id, position));
  return hash.finish() == blob.digest;
}

struct Content {
  Digest digest;
  std::uint64_t bytes = 0;
};

// What the chunks of a blob are, whatever its row says; nullopt: they do not decode.
Result<std::optional<Content>> content_of(Registry::State& registry, std::int64_t blob) {
  Sha256 hash;
  Content content;
  const auto read = registry.read_chunks(blob, [&](const StoredChunk&, auto raw) -> Result<void> {
    hash.update(raw);
    content.bytes += raw.size();
    return {};
  });
  if (!read && read.error().code == Errc::io) return read.error();
  if (!read) return std::optional<Content>();
  content.digest = hash.finish();
  return std::optional(content);
}

}  // namespace

Result<Needs> read_needs(sqlite::Db& db) {
  Needs needs;
  DGQ_TRY(Statement rows,
          db.query("SELECT v.id, v.digest, v.manifest, (SELECT group_concat(model || ':' || tag, ', ') "
                   "FROM tag WHERE version = v.id) FROM version v"));
  while (true) {
    DGQ_TRY(const bool row, rows.step());
    if (!row) break;
    const auto digest = rows.digest(1);
    const std::string names = !rows.is_null(3) ? std::string(rows.text(3))
                              : digest         ? "version " + digest->short_hex()
                                               : "a version without a name";
    const auto manifest = Manifest::parse(rows.text(2), names);
    if (manifest && digest && sha256(rows.text(2)) == *digest)
      add_needs(needs, rows.integer(0), names, *manifest);
    else
      needs.broken.push_back({rows.integer(0), digest ? std::optional(*digest) : std::nullopt,
                              std::string(rows.text(2)), names});
  }
  DGQ_CHECK(add_missing_versions(db, needs));
  return needs;
}

Result<bool> restore_blob(Registry::State& registry, const BlobRepair& blob, const RawChunks& chunks) {
  sqlite::Db& db = *registry.db;
  DGQ_TRY(Transaction transaction, Transaction::begin(db, Transaction::Kind::write));
  DGQ_TRY(const auto found, registry.find_blob(blob.digest));
  std::int64_t id = found.value_or(0);
  if (!found) {
    DGQ_TRY(id, new_blob_id(db));
    DGQ_CHECK(insert_blob(db, id, blob.digest, blob.bytes));
  }
  DGQ_TRY(const bool right, write_chunks(db, id, blob, chunks));
  if (!right) return false;
  DGQ_CHECK(set_sizes(db, id, blob.bytes));
  DGQ_CHECK(link(db, blob.versions, id));
  DGQ_CHECK(audit(db, blob.note, blob.digest));
  DGQ_CHECK(transaction.commit());
  return true;
}

Result<std::vector<std::int64_t>> strays(sqlite::Db& db) {
  DGQ_TRY(Statement rows, db.query("SELECT blob FROM chunk WHERE blob NOT IN (SELECT id FROM blob) UNION "
                                   "SELECT id FROM blob WHERE length(digest) <> 32"));
  std::vector<std::int64_t> ids;
  while (true) {
    DGQ_TRY(const bool row, rows.step());
    if (!row) return ids;
    ids.push_back(rows.integer(0));
  }
}

Result<std::vector<Digest>> adopt_chunks(Registry::State& registry, const Needs& needs,
                                         const std::vector<std::int64_t>& candidates) {
  sqlite::Db& db = *registry.db;
  DGQ_TRY(Transaction transaction, Transaction::begin(db, Transaction::Kind::write));
  std::vector<Digest> adopted;
  for (const std::int64_t id : candidates) {
    DGQ_TRY(const auto content, content_of(registry, id));
    if (!content) continue;
    const auto needed = needs.blobs.find(content->digest);
    DGQ_TRY(const auto is_base, db.find_integer("SELECT 1 FROM chunk WHERE base = ? LIMIT 1", id));
    DGQ_TRY(const auto there, registry.find_blob(content->digest));
    if (there || (needed == needs.blobs.end() && !is_base)) continue;
    DGQ_TRY(const auto row, db.find_integer("SELECT 1 FROM blob WHERE id = ?", id));
    DGQ_CHECK(row ? db.run("UPDATE blob SET digest = ? WHERE id = ?", content->digest, id)
                  : insert_blob(db, id, content->digest, content->bytes));
    DGQ_CHECK(set_sizes(db, id, content->bytes));
    if (needed != needs.blobs.end()) DGQ_CHECK(link(db, needed->second.ids, id));
    DGQ_CHECK(audit(db, "the row of a blob, from its chunks", content->digest));
    adopted.push_back(content->digest);
  }
  DGQ_CHECK(transaction.commit());
  return adopted;
}

Result<void> restore_version(sqlite::Db& db, std::int64_t id, const Digest& digest, std::string_view text,
                             const std::string& note) {
  DGQ_TRY(Transaction transaction, Transaction::begin(db, Transaction::Kind::write));
  // Versions never change: the trigger that sees to it is away until the row is what it was again.
  DGQ_CHECK(db.script("DROP TRIGGER IF EXISTS version_is_fixed"));
  DGQ_CHECK(
      db.run("INSERT INTO version(id, digest, manifest, created) VALUES (?, ?, ?, ?) ON CONFLICT(id) DO "
             "UPDATE SET digest = excluded.digest, manifest = excluded.manifest",
             id, digest, text, unix_now_s()));
  DGQ_CHECK(
      db.script("CREATE TRIGGER version_is_fixed BEFORE UPDATE ON version BEGIN SELECT RAISE(ABORT, "
                "'versions never change'); END"));
  DGQ_CHECK(audit(db, note, digest));
  return transaction.commit();
}

Result<bool> was_made_here(sqlite::Db& db, const Digest& version) {
  DGQ_TRY(const auto found,
          db.find_integer("SELECT 1 FROM audit WHERE to_digest = ? AND action IN ('add', 'import', 'tag') "
                          "LIMIT 1",
                          version));
  return found.has_value();
}

Result<std::uint64_t> link_versions(sqlite::Db& db, const Needs& needs) {
  DGQ_TRY(Transaction transaction, Transaction::begin(db, Transaction::Kind::write));
  DGQ_TRY(const std::int64_t before, db.integer("SELECT count(*) FROM version_blob"));
  for (const auto& [digest, needed] : needs.blobs) {
    DGQ_TRY(const auto id, db.find_integer("SELECT id FROM blob WHERE digest = ?", digest));
    if (id) DGQ_CHECK(link(db, needed.ids, *id));
  }
  DGQ_TRY(const std::int64_t after, db.integer("SELECT count(*) FROM version_blob"));
  if (after == before) return std::uint64_t{0};
  const auto added = static_cast<std::uint64_t>(after - before);
  DGQ_CHECK(audit(db, std::to_string(added) + " blobs kept for their versions", std::nullopt));
  DGQ_CHECK(transaction.commit());
  return added;
}

Result<void> drop_blob(sqlite::Db& db, std::int64_t blob, const std::string& note) {
  DGQ_TRY(Transaction transaction, Transaction::begin(db, Transaction::Kind::write));
  DGQ_CHECK(db.run("DELETE FROM blob WHERE id = ?", blob));
  DGQ_CHECK(audit(db, note, std::nullopt));
  return transaction.commit();
}

Result<void> drop_dangling(sqlite::Db& db, bool chunks) {
  DGQ_TRY(Transaction transaction, Transaction::begin(db, Transaction::Kind::write));
  // A version that is gone but still has a name may come back: its blobs stay kept.
  DGQ_CHECK(db.script(
      "DELETE FROM version_blob WHERE blob NOT IN (SELECT id FROM blob) OR "
      "(version NOT IN (SELECT id FROM version) AND version NOT IN (SELECT version FROM needed_version));"
      "DELETE FROM ingest_blob WHERE blob NOT IN (SELECT id FROM blob) OR ingest NOT IN (SELECT id FROM "
      "ingest)"));
  if (chunks) DGQ_CHECK(db.script("DELETE FROM chunk WHERE blob NOT IN (SELECT id FROM blob)"));
  return transaction.commit();
}

}  // namespace dgq
