#include "registry/registry.h"

#include "base/sha256_beside.h"
#include "registry/audit.h"
#include "registry/schema.h"
#include "registry/state.h"
#include "registry/trust_rows.h"

namespace dgq {

using sqlite::Statement;
using sqlite::Transaction;

namespace {

constexpr std::size_t kMinPrefix = 8;  // hex digits of a version's digest

bool is_digest_prefix(std::string_view text) {
  return text.size() >= kMinPrefix && text.size() <= 64 &&
         text.find_first_not_of("0123456789abcdef") == text.npos;
}

// Of the first row, when there is one.
Result<std::optional<Digest>> first_digest(Statement& rows) {
  DGQ_TRY(const bool row, rows.step());
  if (!row) return std::optional<Digest>();
  DGQ_TRY(const Digest digest, rows.digest(0));
  return std::optional(digest);
}

}  // namespace

Result<void> Registry::State::require_writable() const {
  if (writable) return {};
  return Error{Errc::invalid, "registry " + path.string() + " was opened for reading only"};
}

Result<std::optional<Digest>> Registry::State::named_version(const ModelRef& name) {
  DGQ_TRY(Statement row, db->query("SELECT v.digest FROM tag t JOIN version v ON v.id = t.version "
                                   "WHERE t.model = ? AND t.tag = ?",
                                   name.model, name.tag));
  return first_digest(row);
}

Result<std::string> Registry::State::move_tag(const ModelRef& name, std::int64_t version,
                                              const Digest& digest, const char* action) {
  DGQ_TRY(const std::optional<Digest> from, named_version(name));
  std::string warning;
  if (from == digest) return warning;
  if (std::string_view(action) != "add") {
    DGQ_TRY(warning, require_trusted(*db, name, from, digest));
  }
  DGQ_CHECK(
      db->run("INSERT INTO tag(model, tag, version, updated) VALUES (?, ?, ?, ?) ON CONFLICT(model, tag) "
              "DO UPDATE SET version = excluded.version, updated = excluded.updated",
              name.model, name.tag, version, unix_now_s()));
  DGQ_CHECK(write_audit(*db, action, name.text(), from, digest));
  return warning;
}

Result<std::optional<std::int64_t>> Registry::State::find_blob(const Digest& digest) {
  return db->find_integer("SELECT id FROM blob WHERE digest = ?", digest);
}

Result<void> Registry::State::read_chunks(std::int64_t blob, const ChunkSink& sink) {
  ChunkReader chunks(*db);
  return chunks.for_each(blob, [&](const StoredChunk& chunk) -> Result<void> {
    DGQ_TRY(const std::span<const std::byte> raw, chunks.decode(chunk));
    return sink(chunk, raw);
  });
}

Result<void> Registry::State::read_blob(const Digest& digest, const ChunkSink& sink) {
  const auto fault = [&](Errc code, const std::string& what) {
    return Error{code, "registry " + path.string() + ": blob " + digest.short_hex() + ": " + what};
  };
  DGQ_TRY(Statement row, db->query("SELECT id, bytes FROM blob WHERE digest = ?", digest));
  DGQ_TRY(const bool found, row.step());
  if (!found) return fault(Errc::not_found, "is not there");
  const auto bytes = static_cast<std::uint64_t>(row.integer(1));

  Sha256Beside hash;
  std::uint64_t done = 0;
  bool sink_failed = false;
  const auto read = read_chunks(row.integer(0), [&](const StoredChunk& chunk, auto raw) -> Result<void> {
    done += raw.size();
    if (done > bytes) return Error{Errc::corrupt, "holds more than its " + std::to_string(bytes) + " bytes"};
    hash.update(raw);
    const Result<void> taken = sink(chunk, raw);
    sink_failed = !taken;
    return taken;
  });
  if (!read)
    return sink_failed || read.error().code == Errc::io ? read : fault(read.error().code, read.error().what);
  if (done != bytes)
    return fault(Errc::corrupt,
                 "holds " + std::to_string(done) + " of its " + std::to_string(bytes) + " bytes");
  if (hash.finish() != digest) return fault(Errc::corrupt, "its bytes do not match its digest");
  return {};
}

Registry::Registry(std::unique_ptr<State> state) : state_(std::move(state)) {}
Registry::Registry(Registry&&) noexcept = default;
Registry& Registry::operator=(Registry&&) noexcept = default;
Registry::~Registry() = default;

const std::filesystem::path& Registry::path() const { return state_->path; }

Result<Registry> Registry::open(const std::filesystem::path& path, Mode mode, bool create) {
  if (path.empty())
    return Error{Errc::invalid, "the path of the registry is empty"};  // SQLite: a temporary one
  auto state = std::make_unique<State>();
  state->path = path;
  state->writable = mode == Mode::read_write;
  DGQ_TRY(state->db, open_database(path, state->writable, create));
  return Registry(std::move(state));
}

// Rows of `version` hold manifests, one of many pages each; its index on the digest has all that is asked here.
Result<std::vector<TagInfo>> Registry::list() {
  DGQ_TRY(Statement rows, state_->db->query(R"sql(
WITH v(id, digest) AS MATERIALIZED (SELECT id, digest FROM version)
SELECT t.model, t.tag, v.digest, t.updated, coalesce(sum(b.bytes), 0), coalesce(sum(b.stored_bytes), 0)
FROM tag t JOIN v ON v.id = t.version LEFT JOIN version_blob x ON x.version = t.version LEFT JOIN blob b ON b.id = x.blob
GROUP BY t.model, t.tag ORDER BY t.model, t.tag)sql"));
  std::vector<TagInfo> tags;
  while (true) {
    DGQ_TRY(const bool row, rows.step());
    if (!row) return tags;
    DGQ_TRY(const Digest digest, rows.digest(2));
    tags.push_back({std::string(rows.text(0)), std::string(rows.text(1)), digest, rows.integer(3),
                    static_cast<std::uint64_t>(rows.integer(4)),
                    static_cast<std::uint64_t>(rows.integer(5))});
  }
}

// "...; it has a:latest, b:latest": what a person may have meant.
Error Registry::State::unknown_model(std::string_view reference) {
  constexpr std::int64_t kShown = 8;
  std::string what = "no model '" + std::string(reference) + "' in registry " + path.string();
  const auto all = db->integer("SELECT count(*) FROM tag");
  auto rows = db->query("SELECT model, tag FROM tag ORDER BY model, tag LIMIT ?", kShown);
  if (!all || !rows) return {Errc::not_found, what};
  if (*all == 0) return {Errc::not_found, what + ": it is empty; add one with: dgq quantize"};
  const char* separator = "; it has ";
  for (auto row = rows->step(); row && *row; row = rows->step(), separator = ", ")
    what += separator + std::string(rows->text(0)) + ":" + std::string(rows->text(1));
  if (*all > kShown) what += " and " + std::to_string(*all - kShown) + " more";
  return {Errc::not_found, what};
}

Result<std::optional<Digest>> Registry::State::find_version(std::string_view reference) {
  if (const auto name = ModelRef::parse(reference)) {
    DGQ_TRY(const std::optional<Digest> named, named_version(*name));
    if (named) return named;
  }
  if (!is_digest_prefix(reference)) return std::optional<Digest>();
  const auto padded = [&](char digit) {
    return Digest::parse(std::string(reference) + std::string(64 - reference.size(), digit));
  };
  DGQ_TRY(const Digest lowest, padded('0'));
  DGQ_TRY(const Digest highest, padded('f'));
  DGQ_TRY(Statement rows,
          db->query("SELECT v.digest FROM version v WHERE v.digest BETWEEN ? AND ? AND EXISTS "
                    "(SELECT 1 FROM needed_version WHERE version = v.id)",
                    lowest, highest));
  DGQ_TRY(const std::optional<Digest> digest, first_digest(rows));
  DGQ_TRY(const bool another, digest ? rows.step() : Result<bool>(false));
  if (another)
    return Error{Errc::invalid, "'" + std::string(reference) +
                                    "' is the beginning of more than one version's " + "digest in registry " +
                                    path.string() + "; give more digits"};
  return digest;
}

Result<VersionInfo> Registry::resolve(std::string_view reference) {
  sqlite::Db& db = *state_->db;
  DGQ_TRY(Transaction snapshot, Transaction::begin(db, Transaction::Kind::read));
  DGQ_TRY(const std::optional<Digest> digest, state_->find_version(reference));
  if (!digest) {
    const auto name = ModelRef::parse(reference);
    return name ? state_->unknown_model(reference) : name.error();
  }
  DGQ_TRY(Statement row, db.query("SELECT manifest, created, id FROM version WHERE digest = ?", *digest));
  DGQ_TRY(const bool found, row.step());
  const std::string where = "registry " + path().string() + ": manifest of " + std::string(reference);
  if (!found || sha256(row.text(0)) != *digest)
    return Error{Errc::corrupt,
                 where + " does not match its digest; see what else with: dgq registry verify"};
  VersionInfo version{*digest, {}, row.integer(1), {}};
  DGQ_TRY(version.manifest, Manifest::parse(row.text(0), where));
  DGQ_TRY(
      Statement tags,
      db.query("SELECT model || ':' || tag FROM tag WHERE version = ? ORDER BY model, tag", row.integer(2)));
  while (true) {
    DGQ_TRY(const bool tag, tags.step());
    if (!tag) return version;
    version.tags.emplace_back(tags.text(0));
  }
}

Result<std::string> Registry::tag(const Digest& version, const ModelRef& name) {
  DGQ_CHECK(state_->require_writable());
  DGQ_TRY(Transaction transaction, Transaction::begin(*state_->db, Transaction::Kind::write));
  DGQ_TRY(const auto id, state_->db->find_integer("SELECT id FROM version WHERE digest = ?", version));
  if (!id) return Error{Errc::not_found, "no version " + version.hex() + " in registry " + path().string()};
  DGQ_TRY(const std::string warning, state_->move_tag(name, *id, version, "tag"));
  DGQ_CHECK(transaction.commit());
  return warning;
}

Result<Digest> Registry::remove(const ModelRef& name) {
  DGQ_CHECK(state_->require_writable());
  DGQ_TRY(Transaction transaction, Transaction::begin(*state_->db, Transaction::Kind::write));
  DGQ_TRY(const std::optional<Digest> version, state_->named_version(name));
  if (!version) return state_->unknown_model(name.text());
  DGQ_CHECK(state_->db->run("DELETE FROM tag WHERE model = ? AND tag = ?", name.model, name.tag));
  DGQ_CHECK(write_audit(*state_->db, "remove", name.text(), version, std::nullopt));
  DGQ_CHECK(transaction.commit());
  return *version;
}

Result<RegistryStats> Registry::stats() {
  DGQ_TRY(Statement row,
          state_->db->query("SELECT (SELECT count(DISTINCT version) FROM tag), count(*), "
                            "coalesce(sum(bytes), 0), coalesce(sum(stored_bytes), 0) FROM blob"));
  DGQ_CHECK(row.step());
  const auto value = [&](int column) { return static_cast<std::uint64_t>(row.integer(column)); };
  return RegistryStats{value(0), value(1), value(2), value(3)};
}

Result<std::vector<FileDigest>> Registry::sources(const Digest& version) {
  DGQ_TRY(Statement rows,
          state_->db->query("SELECT subject, from_digest FROM audit WHERE action = 'source' AND "
                            "to_digest = ? GROUP BY subject, from_digest ORDER BY min(id)",
                            version));
  std::vector<FileDigest> files;
  while (true) {
    DGQ_TRY(const bool row, rows.step());
    if (!row) return files;
    DGQ_TRY(const Digest digest, rows.digest(1));
    files.push_back({std::string(rows.text(0)), digest});
  }
}

Result<std::string> Registry::costs(const Digest& version) {
  DGQ_TRY(Statement rows,
          state_->db->query("SELECT subject FROM audit WHERE action = 'costs' AND to_digest = ? "
                            "ORDER BY id DESC LIMIT 1",
                            version));
  DGQ_TRY(const bool row, rows.step());
  return row ? std::string(rows.text(0)) : std::string();
}

Result<std::vector<std::string>> Registry::measurements(const Digest& version) {
  DGQ_TRY(Statement rows,
          state_->db->query(
              "SELECT subject FROM audit WHERE action = 'measure' AND to_digest = ? ORDER BY id", version));
  std::vector<std::string> found;
  while (true) {
    DGQ_TRY(const bool row, rows.step());
    if (!row) return found;
    found.emplace_back(rows.text(0));
  }
}

Result<void> Registry::add_measurement(const Digest& version, std::string_view measured) {
  DGQ_CHECK(state_->require_writable());
  DGQ_TRY(Transaction transaction, Transaction::begin(*state_->db, Transaction::Kind::write));
  DGQ_TRY(const auto found, state_->db->find_integer("SELECT id FROM version WHERE digest = ?", version));
  if (!found) return state_->unknown_model(version.hex());
  DGQ_CHECK(write_audit(*state_->db, "measure", measured, std::nullopt, version));
  return transaction.commit();
}

Result<void> Registry::read_blob(const Digest& digest, const ByteSink& sink) {
  DGQ_TRY(Transaction snapshot, Transaction::begin(*state_->db, Transaction::Kind::read));
  return state_->read_blob(digest, [&](const StoredChunk&, auto raw) { return sink(raw); });
}

}  // namespace dgq
