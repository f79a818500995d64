// registry/sqlite.h - the SQLite C API with RAII and Result; internal to registry/. An Error names the
// registry file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/digest.h"
#include "base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace dgq::sqlite {

class Db;

// A prepared statement with its parameters bound. Borrows the Db. Columns count from 0 and are valid until
// the next step(); a value of another type is converted as SQLite does, never out of bounds.
class Statement {
 public:
  Result<bool> step();  // true: a row is there
  bool is_null(int column) const;
  std::int64_t integer(int column) const;
  std::string_view text(int column) const;
  std::span<const std::byte> blob(int column) const;
  Result<Digest> digest(int column) const;  // corrupt: not 32 bytes

 private:
  friend class Db;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const noexcept;
  };
  int bind(int index, std::nullptr_t);
  int bind(int index, std::int64_t value);
  int bind(int index, const std::optional<std::int64_t>& value);
  int bind(int index, std::string_view value);  // copied
  int bind(int index, const Digest& value);     // copied
  int bind(int index, const std::optional<Digest>& value);
  int bind(int index, std::span<const std::byte> value);  // borrowed until the statement has run

  const Db* db_ = nullptr;
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

class Db {
 public:
  enum class Access {
    read_only,
    immutable,  // no locks, no WAL: only for a file that nobody changes meanwhile
    read_write,
    create,
  };
  // Waits up to busy_timeout_ms for the locks of other processes, then Errc::busy.
  static Result<std::unique_ptr<Db>> open(const std::filesystem::path& path, Access access,
                                          int busy_timeout_ms);
  Db(const Db&) = delete;
  ~Db();

  template <class... Args>
  Result<Statement> query(const char* sql, const Args&... args) {
    DGQ_TRY(Statement statement, prepare(sql));
    [[maybe_unused]] int index = 0;
    if (!(true && ... && (statement.bind(++index, args) == 0))) return error();
    return statement;
  }
  template <class... Args>
  Result<void> run(const char* sql, const Args&... args) {
    DGQ_TRY(Statement statement, query(sql, args...));
    return finish(statement);
  }
  // First column of the first row; nullopt when there is none.
  template <class... Args>
  Result<std::optional<std::int64_t>> find_integer(const char* sql, const Args&... args) {
    DGQ_TRY(Statement statement, query(sql, args...));
    DGQ_TRY(const bool row, statement.step());
    return row ? std::optional(statement.integer(0)) : std::nullopt;
  }
  // The same where there is always a row: pragmas and aggregates.
  template <class... Args>
  Result<std::int64_t> integer(const char* sql, const Args&... args) {
    DGQ_TRY(const std::optional<std::int64_t> value, find_integer(sql, args...));
    return value.value_or(0);
  }

  Result<void> script(const char* sql);  // statements without parameters
  // Moves what is in the WAL into the database file and gives the WAL's bytes back to the disk, as far as
  // that can be done without waiting for others.
  void checkpoint();
  std::int64_t last_insert_id() const;
  bool read_only() const;  // the file cannot be written, whatever open() asked for
  bool in_transaction() const;
  int last_code() const;  // SQLite's primary result code of the last call
  Error error() const;    // of the last call that failed

 private:
  Db(const std::filesystem::path& path, int busy_timeout_ms)
      : path_(path), busy_timeout_ms_(busy_timeout_ms) {}
  Result<Statement> prepare(const char* sql);
  Result<void> finish(Statement& statement);

  std::filesystem::path path_;
  int busy_timeout_ms_;
  sqlite3* db_ = nullptr;
};

// Rolls back in the destructor unless committed.
class Transaction {
 public:
  enum class Kind {
    read,
    write
  };  // write takes the lock at once, so it never fails half-way on another writer
  static Result<Transaction> begin(Db& db, Kind kind);
  Transaction(Transaction&& other) noexcept : db_(std::exchange(other.db_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();
  Result<void> commit();

 private:
  explicit Transaction(Db& db) : db_(&db) {}
  Db* db_;
};

}  // namespace dgq::sqlite
