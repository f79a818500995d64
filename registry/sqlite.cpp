#include "registry/sqlite.h"

#include <sqlite3.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace dgq::sqlite {
namespace {

// Rows are chunks of at most 4 MiB and manifests; a larger row is refused before it is allocated.
constexpr int kMaxRowBytes = 64 << 20;

// "file:" URI of a path: what has a meaning in a URI is escaped.
std::string uri_of(const std::filesystem::path& path, const char* query) {
  std::string uri =
      path.is_absolute() ? "file://" : "file:./";  // or ":memory:" would be no file, and "//x" a host
  for (const char c : path.string()) {
    if (c == '%')
      uri += "%25";
    else if (c == '?')
      uri += "%3f";
    else if (c == '#')
      uri += "%23";
    else
      uri += c;
  }
  return uri + query;
}

bool no_space(int code, int system_error) {
  return code == SQLITE_FULL || (code == SQLITE_IOERR &&
                                 (system_error == ENOSPC || system_error == EDQUOT || system_error == EFBIG));
}

}  // namespace

void Statement::Finalize::operator()(sqlite3_stmt* statement) const noexcept { sqlite3_finalize(statement); }

Result<bool> Statement::step() {
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return db_->error();
}

bool Statement::is_null(int column) const {
  return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
}

std::int64_t Statement::integer(int column) const { return sqlite3_column_int64(statement_.get(), column); }

std::string_view Statement::text(int column) const {
  const unsigned char* data = sqlite3_column_text(statement_.get(), column);
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column));
  return data ? std::string_view(reinterpret_cast<const char*>(data), size) : std::string_view();
}

std::span<const std::byte> Statement::blob(int column) const {
  const void* data = sqlite3_column_blob(statement_.get(), column);
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column));
  return data ? std::span(static_cast<const std::byte*>(data), size) : std::span<const std::byte>();
}

Result<Digest> Statement::digest(int column) const {
  Digest digest;
  const auto bytes = blob(column);
  if (bytes.size() != digest.bytes.size())
    return Error{Errc::corrupt, "a digest in the registry is not 32 bytes long"};
  std::memcpy(digest.bytes.data(), bytes.data(), bytes.size());
  return digest;
}

int Statement::bind(int index, std::nullptr_t) { return sqlite3_bind_null(statement_.get(), index); }

int Statement::bind(int index, std::int64_t value) {
  return sqlite3_bind_int64(statement_.get(), index, value);
}

int Statement::bind(int index, const std::optional<std::int64_t>& value) {
  return value ? bind(index, *value) : bind(index, nullptr);
}

int Statement::bind(int index, std::string_view value) {
  return sqlite3_bind_text64(statement_.get(), index, value.data() ? value.data() : "", value.size(),
                             SQLITE_TRANSIENT, SQLITE_UTF8);
}

int Statement::bind(int index, const Digest& value) {
  return sqlite3_bind_blob(statement_.get(), index, value.bytes.data(), static_cast<int>(value.bytes.size()),
                           SQLITE_TRANSIENT);
}

int Statement::bind(int index, const std::optional<Digest>& value) {
  return value ? bind(index, *value) : bind(index, nullptr);
}

int Statement::bind(int index, std::span<const std::byte> value) {
  return sqlite3_bind_blob64(statement_.get(), index,
                             value.data() ? value.data() : std::as_bytes(std::span("")).data(), value.size(),
                             SQLITE_STATIC);
}

Result<std::unique_ptr<Db>> Db::open(const std::filesystem::path& path, Access access, int busy_timeout_ms) {
  int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE | SQLITE_OPEN_URI;
  switch (access) {
    case Access::read_only:
    case Access::immutable:
      flags |= SQLITE_OPEN_READONLY;
      break;
    case Access::create:
      flags |= SQLITE_OPEN_CREATE;
      [[fallthrough]];
    case Access::read_write:
      flags |= SQLITE_OPEN_READWRITE;
      break;
  }
  std::unique_ptr<Db> db(new Db(path, busy_timeout_ms));
  const std::string uri = uri_of(path, access == Access::immutable ? "?immutable=1" : "");
  if (sqlite3_open_v2(uri.c_str(), &db->db_, flags, nullptr) != SQLITE_OK) return db->error();
  sqlite3_busy_timeout(db->db_, busy_timeout_ms);
  sqlite3_limit(db->db_, SQLITE_LIMIT_LENGTH, kMaxRowBytes);
  // The file may come from elsewhere: nothing in its schema runs but what we could have written.
  sqlite3_db_config(db->db_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(db->db_, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  return db;
}

Db::~Db() { sqlite3_close_v2(db_); }

Result<Statement> Db::prepare(const char* sql) {
  Statement statement;
  statement.db_ = this;
  sqlite3_stmt* prepared = nullptr;
  if (sqlite3_prepare_v2(db_, sql, -1, &prepared, nullptr) != SQLITE_OK) return error();
  statement.statement_.reset(prepared);
  return statement;
}

Result<void> Db::finish(Statement& statement) {
  while (true) {
    DGQ_TRY(const bool row, statement.step());
    if (!row) return {};
  }
}

Result<void> Db::script(const char* sql) {
  if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) return error();
  return {};
}

void Db::checkpoint() {
  sqlite3_busy_timeout(db_, 0);
  sqlite3_wal_checkpoint_v2(db_, nullptr, SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr);
  sqlite3_busy_timeout(db_, busy_timeout_ms_);
}

std::int64_t Db::last_insert_id() const { return sqlite3_last_insert_rowid(db_); }
bool Db::read_only() const { return sqlite3_db_readonly(db_, "main") == 1; }
bool Db::in_transaction() const { return sqlite3_get_autocommit(db_) == 0; }
int Db::last_code() const { return sqlite3_errcode(db_) & 0xff; }

Error Db::error() const {
  if (!db_) return {Errc::io, "registry " + path_.string() + ": out of memory"};
  const int code = last_code(), system_error = sqlite3_system_errno(db_);
  const std::string name = "registry " + path_.string();
  if (no_space(code, system_error))
    return {Errc::io,
            name + ": no space left on its disk; nothing was changed, free some space and run this again"};
  switch (code) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return {Errc::busy, name + " is being written by another process; try again later"};
    case SQLITE_NOTADB:
      return {Errc::corrupt, path_.string() + " is not a dgq registry (not a SQLite database)"};
    case SQLITE_CORRUPT:
      return {Errc::corrupt,
              name + " is damaged (" + sqlite3_errmsg(db_) + "); see what with: dgq registry verify"};
    case SQLITE_READONLY:
      return {Errc::io, name + " cannot be written: it is read-only"};
    case SQLITE_TOOBIG:
      return {Errc::corrupt, name + ": a row is larger than any that dgq writes"};
    default:
      break;
  }
  std::string what = name + ": " + sqlite3_errmsg(db_);
  if ((code == SQLITE_IOERR || code == SQLITE_CANTOPEN) && system_error != 0)
    what += std::string(" (") + std::strerror(system_error) + ")";
  return {Errc::io, what};
}

Result<Transaction> Transaction::begin(Db& db, Kind kind) {
  DGQ_CHECK(db.run(kind == Kind::write ? "BEGIN IMMEDIATE" : "BEGIN"));
  return Transaction(db);
}

Transaction::~Transaction() {
  // After a full disk SQLite may have rolled back on its own. An error here leaves the transaction
  // uncommitted as well.
  if (db_ && db_->in_transaction()) static_cast<void>(db_->run("ROLLBACK"));
}

Result<void> Transaction::commit() {
  DGQ_CHECK(db_->run("COMMIT"));
  db_ = nullptr;
  return {};
}

}  // namespace dgq::sqlite
