#include "registry/inquiry.h"

#include "registry/state.h"

namespace dgq {

using sqlite::Statement;
using sqlite::Transaction;

namespace {

std::uint64_t count(const Statement& row, int column) {
  return static_cast<std::uint64_t>(row.integer(column));
}

Result<std::optional<Digest>> optional_digest(const Statement& row, int column) {
  if (row.is_null(column)) return std::optional<Digest>();
  DGQ_TRY(const Digest digest, row.digest(column));
  return std::optional(digest);
}

Result<std::vector<AuditEntry>> entries(Statement rows) {
  std::vector<AuditEntry> found;
  while (true) {
    DGQ_TRY(const bool row, rows.step());
    if (!row) return found;
    const auto text = [&](int column) { return std::string(rows.text(column)); };
    AuditEntry entry{rows.integer(0), rows.integer(1), text(2), text(3), text(4), text(5), {}, {}};
    DGQ_TRY(entry.from, optional_digest(rows, 6));
    DGQ_TRY(entry.to, optional_digest(rows, 7));
    found.push_back(std::move(entry));
  }
}

// Subjects from ?1 to ?2 are names. What has another subject belongs to a name when it is about one of its versions: who
// added it, its files and costs, its end.
constexpr const char* kLog = R"sql(
WITH named AS (SELECT id, from_digest, to_digest FROM audit WHERE subject BETWEEN ?1 AND ?2),
     its(digest) AS (SELECT from_digest FROM named UNION SELECT to_digest FROM named)
SELECT * FROM (
  SELECT id, time, who, tool, action, subject, from_digest, to_digest FROM audit
  WHERE time >= ?3 AND (?1 = '' OR id IN (SELECT id FROM named)
    OR (action NOT IN ('tag', 'remove', 'rename') AND to_digest IN (SELECT digest FROM its WHERE digest IS NOT NULL))
    OR (action = 'gc' AND from_digest IN (SELECT digest FROM its WHERE digest IS NOT NULL)))
  ORDER BY id DESC LIMIT ?4)
ORDER BY id)sql";

// The blobs that gc would leave: of versions with a name, of adds that are not among `reaped`, and their bases, which have
// none themselves.
std::string what_gc_frees(const std::string& columns, const std::vector<std::int64_t>& reaped) {
  std::string ids;
  for (const std::int64_t id : reaped) ids += (ids.empty() ? "" : ",") + std::to_string(id);
  return "WITH kept(id) AS (SELECT blob FROM version_blob WHERE version IN (SELECT version FROM needed_version) "
         "UNION SELECT blob FROM ingest_blob WHERE ingest NOT IN (" +
         ids +
         ")), bases(id) AS (SELECT base FROM chunk INDEXED BY chunk_base WHERE base IS NOT NULL AND blob IN "
         "kept) "
         "SELECT " +
         columns + " FROM blob WHERE id NOT IN kept AND id NOT IN bases";
}

Result<void> add_codecs(sqlite::Db& db, RegistryUsage& usage) {
  DGQ_TRY(Statement rows,
          db.query("SELECT CASE WHEN base IS NOT NULL THEN 2 ELSE codec = 1 END AS kind, count(*), "
                   "sum(raw_bytes), sum(length(data)) FROM chunk GROUP BY kind"));
  CodecUsage* const kinds[] = {&usage.raw, &usage.zstd, &usage.delta};
  while (true) {
    DGQ_TRY(const bool row, rows.step());
    if (!row) return {};
    *kinds[rows.integer(0)] = {count(rows, 1), count(rows, 2), count(rows, 3)};
  }
}

Result<void> add_file(sqlite::Db& db, RegistryUsage& usage) {
  DGQ_TRY(const std::int64_t page, db.integer("PRAGMA page_size"));
  DGQ_TRY(const std::int64_t pages, db.integer("PRAGMA page_count"));
  DGQ_TRY(const std::int64_t free, db.integer("PRAGMA freelist_count"));
  usage.file_bytes = static_cast<std::uint64_t>(page * pages);
  usage.free_bytes = static_cast<std::uint64_t>(page * free);
  return {};
}

Result<std::vector<BlobInfo>> blob_infos(Statement rows) {
  std::vector<BlobInfo> blobs;
  while (true) {
    DGQ_TRY(const bool row, rows.step());
    if (!row) return blobs;
    DGQ_TRY(const Digest digest, rows.digest(0));
    blobs.push_back({digest, count(rows, 1), count(rows, 2)});
  }
}

}  // namespace

Result<std::vector<AuditEntry>> Registry::log(const AuditQuery& query) {
  // ':' is in no model and DEL in no tag.
  const bool model = query.name.find(':') == query.name.npos;
  const std::string first = query.name + (model && !query.name.empty() ? ":" : "");
  const std::string last = model ? first + "\x7f" : first;
  if (!query.name.empty()) DGQ_CHECK(ModelRef::parse(query.name));
  DGQ_TRY(Transaction snapshot, Transaction::begin(*state_->db, Transaction::Kind::read));
  if (!query.name.empty()) {
    DGQ_TRY(const auto any, state_->db->find_integer(
                                "SELECT 1 FROM audit WHERE subject BETWEEN ? AND ? LIMIT 1", first, last));
    if (!any)
      return Error{Errc::not_found, "the audit log of registry " + path().string() + " has nothing about '" +
                                        query.name + "'"};
  }
  const std::uint64_t limit = std::min<std::uint64_t>(query.limit.value_or(INT64_MAX), INT64_MAX);
  DGQ_TRY(Statement rows, state_->db->query(kLog, first, last, query.since_unix_s.value_or(INT64_MIN),
                                            static_cast<std::int64_t>(limit)));
  return entries(std::move(rows));
}

Result<RegistryUsage> Registry::usage() {
  sqlite::Db& db = *state_->db;
  DGQ_TRY(Transaction snapshot, Transaction::begin(db, Transaction::Kind::read));
  RegistryUsage usage;
  {
    DGQ_TRY(Statement row, db.query(R"sql(
SELECT (SELECT count(DISTINCT version) FROM tag), (SELECT count(*) FROM version WHERE id NOT IN (SELECT version FROM needed_version)),
  (SELECT count(*) FROM tag), (SELECT count(DISTINCT model) FROM tag), count(*), coalesce(sum(bytes), 0),
  coalesce(sum(stored_bytes), 0), (SELECT coalesce(sum(b.bytes), 0) FROM version_blob x JOIN blob b ON b.id = x.blob
                                   WHERE x.version IN (SELECT version FROM tag))
FROM blob)sql"));
    DGQ_CHECK(row.step());
    std::uint64_t* const values[] = {
        &usage.versions, &usage.untagged_versions, &usage.names,        &usage.models,
        &usage.blobs,    &usage.raw_bytes,         &usage.stored_bytes, &usage.referred_bytes};
    for (int i = 0; std::uint64_t * value : values) *value = count(row, i++);
  }
  DGQ_CHECK(add_codecs(db, usage));
  DGQ_CHECK(add_file(db, usage));
  DGQ_TRY(const std::vector<std::int64_t> reaped, state_->reapable_ingests(false));
  DGQ_TRY(Statement freed,
          db.query(what_gc_frees("count(*), coalesce(sum(stored_bytes), 0)", reaped).c_str()));
  DGQ_CHECK(freed.step());
  usage.gc_blobs = count(freed, 0), usage.gc_bytes = count(freed, 1);
  DGQ_TRY(usage.interrupted_imports, state_->interrupted_imports());
  return usage;
}

Result<std::vector<BlobInfo>> Registry::blobs() {
  DGQ_TRY(Statement rows, state_->db->query("SELECT digest, bytes, stored_bytes FROM blob ORDER BY id"));
  return blob_infos(std::move(rows));
}

Result<std::vector<BlobInfo>> Registry::unneeded_blobs() {
  sqlite::Db& db = *state_->db;
  DGQ_TRY(Transaction snapshot, Transaction::begin(db, Transaction::Kind::read));
  DGQ_TRY(const std::vector<std::int64_t> reaped, state_->reapable_ingests(false));
  DGQ_TRY(Statement rows, db.query(what_gc_frees("digest, bytes, stored_bytes", reaped).c_str()));
  return blob_infos(std::move(rows));
}

Result<std::vector<BlobUse>> Registry::blob_uses(const Digest& version) {
  DGQ_TRY(Statement rows, state_->db->query(R"sql(
SELECT b.digest, b.bytes, b.stored_bytes,
  (SELECT count(*) FROM version_blob y WHERE y.blob = b.id AND y.version <> v.id
     AND EXISTS (SELECT 1 FROM tag WHERE version = y.version))
FROM version v JOIN version_blob x ON x.version = v.id JOIN blob b ON b.id = x.blob WHERE v.digest = ?)sql",
                                            version));
  std::vector<BlobUse> blobs;
  while (true) {
    DGQ_TRY(const bool row, rows.step());
    if (!row) return blobs;
    DGQ_TRY(const Digest digest, rows.digest(0));
    blobs.push_back({digest, count(rows, 1), count(rows, 2), count(rows, 3)});
  }
}

Result<std::string> Registry::manifest_text(const Digest& version) {
  DGQ_TRY(Statement row, state_->db->query("SELECT manifest FROM version WHERE digest = ?", version));
  DGQ_TRY(const bool found, row.step());
  if (!found)
    return Error{Errc::not_found, "no version " + version.hex() + " in registry " + path().string()};
  return std::string(row.text(0));
}

}  // namespace dgq
