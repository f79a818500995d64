#include "registry/schema.h"

#include <sqlite3.h>
#include <sys/stat.h>

#include <chrono>
#include <iterator>
#include <thread>

#include "base/file.h"
#include "registry/audit.h"
#include "registry/file_system.h"

namespace dgq {
namespace {

using sqlite::Db;
using sqlite::Transaction;

// Step i takes user_version i to i + 1. Steps that were released never change; the next one is appended.
constexpr const char* kMigrations[] = {
    R"sql(
CREATE TABLE blob(
  id INTEGER PRIMARY KEY,
  digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),  -- SHA-256 of the raw bytes
  bytes INTEGER NOT NULL CHECK (bytes >= 0),
  stored_bytes INTEGER NOT NULL CHECK (stored_bytes >= 0)   -- sum over its chunks
) STRICT;
CREATE TABLE chunk(
  blob INTEGER NOT NULL REFERENCES blob(id) ON DELETE CASCADE,
  position INTEGER NOT NULL,                                -- 0, 1, ...
  codec INTEGER NOT NULL CHECK (codec IN (0, 1)),           -- raw, zstd
  raw_bytes INTEGER NOT NULL CHECK (raw_bytes > 0),
  data BLOB NOT NULL,
  UNIQUE (blob, position)
) STRICT;
CREATE TABLE version(
  id INTEGER PRIMARY KEY,
  digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),  -- SHA-256 of manifest
  manifest TEXT NOT NULL,
  created INTEGER NOT NULL                                  -- Unix seconds, as everywhere
) STRICT;
CREATE TABLE version_blob(
  version INTEGER NOT NULL REFERENCES version(id) ON DELETE CASCADE,
  blob INTEGER NOT NULL REFERENCES blob(id),
  PRIMARY KEY (version, blob)
) STRICT, WITHOUT ROWID;
CREATE INDEX version_blob_blob ON version_blob(blob);
CREATE TABLE tag(
  model TEXT NOT NULL,
  tag TEXT NOT NULL,
  version INTEGER NOT NULL REFERENCES version(id),
  updated INTEGER NOT NULL,
  PRIMARY KEY (model, tag)
) STRICT, WITHOUT ROWID;
CREATE INDEX tag_version ON tag(version);
CREATE TABLE ingest(                                        -- one row per running add
  id INTEGER PRIMARY KEY AUTOINCREMENT,                     -- never reused: it is a byte of the lock file
  started INTEGER NOT NULL,
  who TEXT NOT NULL
) STRICT;
CREATE TABLE ingest_blob(                                   -- what a running add needs, safe from gc
  ingest INTEGER NOT NULL REFERENCES ingest(id) ON DELETE CASCADE,
  blob INTEGER NOT NULL REFERENCES blob(id),
  PRIMARY KEY (ingest, blob)
) STRICT, WITHOUT ROWID;
CREATE INDEX ingest_blob_blob ON ingest_blob(blob);
CREATE TABLE audit(
  id INTEGER PRIMARY KEY,
  time INTEGER NOT NULL,
  who TEXT NOT NULL,                                        -- user@host
  tool TEXT NOT NULL,                                       -- "dgq 0.1.0"
  action TEXT NOT NULL,
  subject TEXT NOT NULL,
  from_digest BLOB,
  to_digest BLOB
) STRICT;
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit rows are kept'); END;
CREATE TRIGGER audit_is_fixed BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit rows never change'); END;
CREATE TRIGGER version_is_fixed BEFORE UPDATE ON version BEGIN SELECT RAISE(ABORT, 'versions never change'); END;
)sql",
    // Deltas and imports that can go on after they were interrupted (docs/REGISTRY.md).
    R"sql(
ALTER TABLE chunk ADD COLUMN base INTEGER REFERENCES blob(id);  -- its chunk at this position is the zstd prefix
CREATE INDEX chunk_base ON chunk(base) WHERE base IS NOT NULL;
ALTER TABLE ingest ADD COLUMN resume BLOB;                      -- what a later import of the same bundle knows it by
)sql",
    // Signatures (docs/REGISTRY.md).
    R"sql(
CREATE TABLE trusted_key(
  public_key BLOB PRIMARY KEY CHECK (length(public_key) = 32),  -- Ed25519; never a private one
  name TEXT NOT NULL,                                           -- whose it is, for people
  added INTEGER NOT NULL,
  revoked INTEGER                                               -- when; for good
) STRICT, WITHOUT ROWID;
CREATE TABLE signature(
  version INTEGER NOT NULL REFERENCES version(id) ON DELETE CASCADE,
  statement TEXT NOT NULL,                                      -- what is signed
  signature BLOB NOT NULL CHECK (length(signature) = 64),
  added INTEGER NOT NULL,
  PRIMARY KEY (version, statement, signature)
) STRICT, WITHOUT ROWID;
CREATE TABLE accepted(                                          -- against rollback
  model TEXT PRIMARY KEY,
  counter INTEGER NOT NULL                                      -- the highest that was ever run
) STRICT, WITHOUT ROWID;
CREATE TABLE setting(name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
)sql",
    // Benchmark runs (docs/BENCHMARKS.md): documents that the registry keeps and does not read.
    R"sql(
CREATE TABLE run(
  id INTEGER PRIMARY KEY,
  digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),      -- SHA-256 of document
  kind TEXT NOT NULL,                                           -- "model", "kernels", ...
  started INTEGER NOT NULL,
  document TEXT NOT NULL
) STRICT;
CREATE TRIGGER run_is_fixed BEFORE UPDATE ON run BEGIN SELECT RAISE(ABORT, 'runs never change'); END;
)sql",
    // Deployments (docs/AGENT.md).
    R"sql(
CREATE TABLE deployment(
  name TEXT PRIMARY KEY,
  model TEXT NOT NULL,                                          -- model:tag that is wanted
  policy TEXT NOT NULL,                                         -- JSON
  asked INTEGER NOT NULL,                                       -- counts what people have asked
  state TEXT NOT NULL,                                          -- the rest is the agent's
  reason TEXT NOT NULL,
  candidate INTEGER REFERENCES version(id),
  active INTEGER REFERENCES version(id),
  previous INTEGER REFERENCES version(id),                      -- the good one before
  refused BLOB CHECK (length(refused) = 32),                    -- a digest: it need not be kept
  attempts INTEGER NOT NULL,
  since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE deployment_run(                                    -- processes that serve; those left behind died
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  deployment TEXT NOT NULL REFERENCES deployment(name) ON DELETE CASCADE,
  version INTEGER NOT NULL REFERENCES version(id) ON DELETE CASCADE,
  began INTEGER NOT NULL
) STRICT;
CREATE INDEX deployment_run_of ON deployment_run(deployment, version);
CREATE INDEX deployment_run_version ON deployment_run(version);
CREATE TABLE expectation(                                       -- what a version must do before it serves
  version INTEGER PRIMARY KEY REFERENCES version(id) ON DELETE CASCADE,
  json TEXT NOT NULL
) STRICT;
CREATE VIEW needed_version(version) AS                          -- the others are gone for readers, and gc removes them
  SELECT version FROM tag UNION ALL SELECT candidate FROM deployment WHERE candidate IS NOT NULL
  UNION ALL SELECT active FROM deployment WHERE active IS NOT NULL
  UNION ALL SELECT previous FROM deployment WHERE previous IS NOT NULL;  -- ALL, so that one version is looked up by index
)sql",
};
constexpr std::int64_t kSchemaVersion = std::size(kMigrations);

// Long enough for another process to store its largest blob (0.5 GB at 20 MB/s), since it holds the lock
// meanwhile.
constexpr int kBusyTimeoutMs = 60'000;

Error not_ours(const std::filesystem::path& path, const char* what) {
  return {Errc::corrupt, path.string() + " is not a dgq registry (" + what + ")"};
}

// The user_version of a database that is ours; 0 for an empty one, which an interrupted init leaves behind.
// Call inside a transaction: another process may be making the registry at this moment.
Result<std::int64_t> recognise_in_transaction(Db& db, const std::filesystem::path& path) {
  DGQ_TRY(const std::int64_t application, db.integer("PRAGMA application_id"));
  DGQ_TRY(const std::int64_t version, db.integer("PRAGMA user_version"));
  if (application != kApplicationId) {
    DGQ_TRY(const std::int64_t objects, db.integer("SELECT count(*) FROM sqlite_schema"));
    if (application != 0 || version != 0 || objects != 0)
      return not_ours(path, "a SQLite database of another program");
    return 0;
  }
  if (version > kSchemaVersion)
    return Error{Errc::unsupported, "registry " + path.string() + " was made by a newer dgq (schema " +
                                        std::to_string(version) + ", this one knows " +
                                        std::to_string(kSchemaVersion) + "): upgrade dgq"};
  return version;
}

// `code`: SQLite's result code when it fails.
Result<std::int64_t> recognise(Db& db, const std::filesystem::path& path, int& code) {
  const auto snapshot = Transaction::begin(db, Transaction::Kind::read);
  const auto version = snapshot ? recognise_in_transaction(db, path) : Result<std::int64_t>(snapshot.error());
  code = db.last_code();  // before the rollback succeeds
  return version;
}

Result<void> migrate(Db& db, const std::filesystem::path& path) {
  DGQ_TRY(Transaction transaction, Transaction::begin(db, Transaction::Kind::write));
  DGQ_TRY(std::int64_t version,
          recognise_in_transaction(db, path));  // again: another process may have been faster
  const std::int64_t before = version;
  for (; version < kSchemaVersion; ++version) DGQ_CHECK(db.script(kMigrations[version]));
  if (before < kSchemaVersion)
    DGQ_CHECK(write_audit(db, before == 0 ? "init" : "migrate", "schema " + std::to_string(kSchemaVersion),
                          std::nullopt, std::nullopt));
  DGQ_CHECK(db.script(("PRAGMA application_id = " + std::to_string(kApplicationId)).c_str()));
  DGQ_CHECK(db.script(("PRAGMA user_version = " + std::to_string(kSchemaVersion)).c_str()));
  return transaction.commit();
}

// Of every writing connection. synchronous FULL: in WAL mode NORMAL could lose the last commits when power
// fails, and what add or tag reported as done must stay done; the price is one fsync per blob or change. The
// WAL is given back to the disk after a large blob went through it.
constexpr const char* kWriterSettings =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA secure_delete = "
    "OFF;"
    "PRAGMA journal_size_limit = 16777216; PRAGMA wal_autocheckpoint = 256;";

// Changing an empty database to WAL needs it for oneself, and there SQLite gives up at once instead of waiting
// (it cannot tell the wait from a deadlock). Two processes that init at once meet here, so the wait is ours.
Result<void> apply_writer_settings(Db& db) {
  constexpr int kPauseMs = 5;
  for (int waited_ms = 0;; waited_ms += kPauseMs) {
    auto done = db.script(kWriterSettings);
    if (done || db.last_code() != SQLITE_BUSY || waited_ms >= kBusyTimeoutMs) return done;
    std::this_thread::sleep_for(std::chrono::milliseconds(kPauseMs));
  }
}

Result<std::unique_ptr<Db>> open_writable(const std::filesystem::path& path, bool create) {
  DGQ_TRY(auto db, Db::open(path, create ? Db::Access::create : Db::Access::read_write, kBusyTimeoutMs));
  if (db->read_only())
    return Error{Errc::io, "registry " + path.string() + " cannot be written: the file is read-only here"};
  int code = SQLITE_OK;
  const auto version = recognise(*db, path, code);
  if (!version && code == SQLITE_CANTOPEN)
    return Error{Errc::io, version.error().what + ": writing needs a folder in which files can be made"};
  if (!version) return version.error();
  if (*version == 0 && !create)
    return not_ours(path, "it is empty; if `dgq registry init` was interrupted here, run it again");
  // Both only take effect before the first table. Incremental vacuum lets gc give space back without copying
  // the rest.
  if (*version == 0) DGQ_CHECK(db->script("PRAGMA page_size = 65536; PRAGMA auto_vacuum = INCREMENTAL;"));
  DGQ_CHECK(apply_writer_settings(*db));
  if (*version < kSchemaVersion) {
    DGQ_CHECK(migrate(*db, path));
    db->checkpoint();  // the WAL is for what comes: where space is short, it must hold what cleans up after a failure
  }
  if (*version == 0) DGQ_CHECK(sync_folder(path.parent_path()));  // SQLite syncs the file, not its name
  return db;
}

bool has_bytes(const std::filesystem::path& path) {
  struct stat info;
  return ::stat(path.c_str(), &info) == 0 && info.st_size > 0;
}

// `code`: SQLite's result code when it fails.
Result<std::unique_ptr<Db>> open_as(Db::Access access, const std::filesystem::path& path, int& code) {
  DGQ_TRY(auto db, Db::open(path, access, kBusyTimeoutMs));
  const auto version = recognise(*db, path, code);
  if (!version) return version.error();
  if (*version == 0) return not_ours(path, "it is empty");
  if (*version < kSchemaVersion)
    return Error{Errc::unsupported, "registry " + path.string() +
                                        " was made by an older dgq; migrate it with: dgq " +
                                        "registry init --registry " + path.string()};
  return db;
}

// Whole, without locks. With a -wal file that holds changes the database file alone may be half of the truth.
Result<std::unique_ptr<Db>> open_image(const std::filesystem::path& path) {
  if (has_bytes(path.string() + "-wal"))
    return Error{Errc::io,
                 "registry " + path.string() +
                     " has unfinished changes (its -wal file) and cannot be written here; open it once where "
                     "it can be: dgq registry init --registry " +
                     path.string()};
  int code = SQLITE_OK;
  return open_as(Db::Access::immutable, path, code);
}

// A reader of a WAL database needs its -wal and -shm files. Where they are not there and cannot be made
// (read-only file system or folder), nobody has the registry open for writing, and the file is opened as
// an image. That is exact on a read-only file system. In a folder that only this user cannot write, someone
// else could start to write later; then a long-lived reader may see a mixture of old and new pages. It cannot
// take such bytes for a model, since manifests and blobs are checked against their digests: it gets an Error,
// and opening again helps.
Result<std::unique_ptr<Db>> open_readable(const std::filesystem::path& path) {
  int code = SQLITE_OK;
  auto db = open_as(Db::Access::read_only, path, code);
  const bool no_wal_here = code == SQLITE_CANTOPEN || code == SQLITE_READONLY || code == SQLITE_IOERR;
  return db || !no_wal_here ? std::move(db) : open_image(path);
}

Error on_shared(const std::filesystem::path& path, const std::string& file_system) {
  return {Errc::unsupported,
          "registry " + path.string() + " is on a file system that other machines may have as well (" +
              file_system +
              "), where SQLite's locks and shared memory do not hold: keep it on a local disk, " +
              "and bring versions there with: dgq registry export, dgq registry import"};
}

}  // namespace

Result<std::unique_ptr<Db>> open_database(const std::filesystem::path& path, bool writable, bool create) {
  std::error_code ignored;
  const auto status = std::filesystem::status(path, ignored);
  const bool missing = !std::filesystem::exists(status);
  if (missing && !(writable && create))
    return Error{Errc::not_found, "no registry at " + path.string() +
                                      "; make one with: dgq registry init --registry " + path.string()};
  if (!missing && !std::filesystem::is_regular_file(status)) return not_ours(path, "not a regular file");
  const FileSystem disk = file_system_of(path);
  // Mounted read-only, it is an image that somebody published; that it changes meanwhile is found as in open_readable().
  if (!disk.shared.empty())
    return disk.read_only && !writable ? open_image(path) : on_shared(path, disk.shared);
  if (!writable) return open_readable(path);
  if (missing) DGQ_CHECK(make_folder(path.parent_path()));
  return open_writable(path, create);
}

}  // namespace dgq
