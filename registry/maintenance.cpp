// registry/maintenance.cpp - gc and verify.
#include <algorithm>
#include <map>

#include "registry/audit.h"
#include "registry/runs.h"
#include "registry/state.h"
#include "registry/trust_rows.h"

namespace dgq {

using sqlite::Statement;
using sqlite::Transaction;

namespace {

// Versions that neither a tag nor a deployment names: gone for readers, freed by gc.
constexpr const char* kUnneeded =
    "SELECT digest FROM version WHERE id NOT IN (SELECT version FROM needed_version)";

Result<std::vector<Digest>> digests(sqlite::Db& db, const char* sql) {
  std::vector<Digest> found;
  DGQ_TRY(Statement rows, db.query(sql));
  while (true) {
    DGQ_TRY(const bool row, rows.step());
    if (!row) return found;
    DGQ_TRY(const Digest digest, rows.digest(0));
    found.push_back(digest);
  }
}

using Findings = std::vector<std::string>;

// A row of integrity_check that is about what a column holds, not about pages or indexes.
bool about_a_value(std::string_view line) {
  return line.starts_with("CHECK constraint failed in ") || line.find(" value in ") != line.npos;
}

// The rows of a check pragma, one fault each but for "ok".
Result<void> check_database(sqlite::Db& db, VerifyReport& report) {
  Findings& faults = report.faults;
  DGQ_TRY(Statement integrity, db.query("PRAGMA integrity_check(20)"));
  while (true) {
    DGQ_TRY(const bool row, integrity.step());
    if (!row) break;
    if (integrity.text(0) == "ok") continue;
    faults.push_back("database: " + std::string(integrity.text(0)));
    report.database_damaged = report.database_damaged || !about_a_value(integrity.text(0));
  }
  DGQ_TRY(Statement keys, db.query("PRAGMA foreign_key_check"));
  while (true) {
    DGQ_TRY(const bool row, keys.step());
    if (!row) return {};
    faults.push_back("database: a row of table " + std::string(keys.text(0)) +
                     " refers to a missing row of " + std::string(keys.text(2)));
  }
}

// For people: which blob of which model a digest is.
using Users = std::map<Digest, std::string>;

std::string describe(const Users& users, const Digest& digest) {
  const auto found = users.find(digest);
  return found == users.end() ? "no version uses it" : found->second;
}

Result<void> check_manifests(sqlite::Db& db, const std::map<Digest, std::uint64_t>& blobs, Findings& faults,
                             Users& users) {
  DGQ_TRY(Statement rows, db.query("SELECT v.digest, v.manifest, coalesce((SELECT min(model || ':' || tag) "
                                   "FROM tag WHERE version = v.id),"
                                   " 'untagged'), v.id FROM version v"));
  while (true) {
    DGQ_TRY(const bool row, rows.step());
    if (!row) return {};
    DGQ_TRY(const Digest digest, rows.digest(0));
    const std::string where = "version " + digest.short_hex() + " (" + std::string(rows.text(2)) + ")";
    if (sha256(rows.text(1)) != digest) {
      faults.push_back(where + ": its manifest does not match its digest");
      continue;
    }
    const auto manifest = Manifest::parse(rows.text(1), where);
    if (!manifest) {
      faults.push_back(manifest.error().what);
      continue;
    }
    for (const BlobRef& blob : manifest->blobs) {
      users.emplace(blob.digest, blob.name + " of " + std::string(rows.text(2)));
      const auto stored = blobs.find(blob.digest);
      const std::string name = where + ": blob " + blob.name + " (" + blob.digest.short_hex() + ") ";
      if (stored == blobs.end() || stored->second != blob.bytes) {
        faults.push_back(name + (stored == blobs.end() ? "is missing" : "has another size"));
        continue;
      }
      DGQ_TRY(const auto kept, db.find_integer("SELECT 1 FROM version_blob WHERE version = ? AND blob = "
                                               "(SELECT id FROM blob WHERE digest = ?)",
                                               rows.integer(3), blob.digest));
      if (!kept) faults.push_back(name + "is not kept for it: gc would free it");
    }
  }
}

}  // namespace

// In steps that keep the WAL short, since the disk may be nearly full.
Result<void> Registry::State::shrink() {
  db->checkpoint();
  while (true) {
    DGQ_TRY(const std::int64_t before, db->integer("PRAGMA freelist_count"));
    if (before == 0) return {};
    DGQ_CHECK(db->script("PRAGMA incremental_vacuum(256)"));
    db->checkpoint();
    DGQ_TRY(const std::int64_t after, db->integer("PRAGMA freelist_count"));
    if (after >= before) return {};
  }
}

Result<GcReport> Registry::State::sweep_blobs() {
  static const std::string kUnneeded =
      "WHERE id NOT IN (SELECT blob FROM version_blob) AND id NOT IN (SELECT blob FROM ingest_blob) "
      "AND id NOT IN (SELECT base FROM chunk WHERE base IS NOT NULL)";
  GcReport report;
  while (true) {  // a base goes after the last blob that is stored against it
    DGQ_TRY(Statement row,
            db->query(("SELECT count(*), coalesce(sum(stored_bytes), 0) FROM blob " + kUnneeded).c_str()));
    DGQ_CHECK(row.step());
    if (row.integer(0) == 0) return report;
    report.blobs_removed += static_cast<std::uint64_t>(row.integer(0));
    report.bytes_freed += static_cast<std::uint64_t>(row.integer(1));
    DGQ_CHECK(db->run(("DELETE FROM blob " + kUnneeded).c_str()));
  }
}

Result<GcReport> Registry::gc(bool interrupted_imports) {
  DGQ_CHECK(state_->require_writable());
  sqlite::Db& db = *state_->db;
  GcReport report;
  {
    DGQ_TRY(Transaction transaction, Transaction::begin(db, Transaction::Kind::write));
    DGQ_CHECK(state_->reap_dead_ingests(interrupted_imports));
    DGQ_TRY(const std::vector<Digest> unneeded, digests(db, kUnneeded));
    for (const Digest& digest : unneeded) {
      DGQ_CHECK(db.run("DELETE FROM version WHERE digest = ?", digest));
      DGQ_CHECK(write_audit(db, "gc", "version", digest, std::nullopt));
    }
    DGQ_TRY(report, state_->sweep_blobs());
    if (report.blobs_removed > 0)
      DGQ_CHECK(write_audit(
          db, "gc",
          std::to_string(report.blobs_removed) + " blobs, " + std::to_string(report.bytes_freed) + " bytes",
          std::nullopt, std::nullopt));
    DGQ_TRY(report.interrupted_imports, state_->interrupted_imports());
    DGQ_CHECK(transaction.commit());
  }
  DGQ_CHECK(state_->shrink());
  return report;
}

Result<VerifyReport> Registry::verify(const BlobProgress& progress) {
  sqlite::Db& db = *state_->db;
  DGQ_TRY(Transaction snapshot, Transaction::begin(db, Transaction::Kind::read));
  VerifyReport report;
  std::map<Digest, std::uint64_t> blobs;
  Users users;
  std::uint64_t total = 0;
  // A damaged page can fail any of these queries; that is a finding as well, and the rest is still looked at.
  const auto note = [&](const Result<void>& checked) {
    if (!checked) report.faults.push_back(checked.error().what);
  };
  const auto checked = check_database(db, report);
  note(checked);
  if (!checked && checked.error().code == Errc::corrupt) report.database_damaged = true;
  if (const auto all = this->blobs()) {
    for (const BlobInfo& blob : *all) blobs[blob.digest] = blob.bytes, total += blob.bytes;
  } else {
    note(all.error());
  }
  note(check_manifests(db, blobs, report.faults, users));
  note(check_signatures(db, report.faults));
  note(check_runs(db, report.faults));
  for (const auto& [digest, bytes] : blobs) {
    const auto read = state_->read_blob(digest, [&](const StoredChunk&, auto raw) -> Result<void> {
      report.bytes_checked += raw.size();
      if (progress) progress(report.bytes_checked, total);
      return {};
    });
    ++report.blobs_checked;
    if (read) continue;
    report.faults.push_back(read.error().what + " (" + describe(users, digest) + ")");
    if (read.error().code != Errc::io) report.damaged.push_back(digest);  // else it may be whole
  }
  return report;
}

}  // namespace dgq
