#include "registry/registry.h"

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

// "...; it has a:latest, b:latest": what a person may have meant.
Error unknown_model(std::string_view reference, const std::filesystem::path& path,
                    const std::vector<TagInfo>& tags) {
  constexpr std::size_t kShown = 8;
  std::string what = "no model '" + std::string(reference) + "' in registry " + path.string();
  if (tags.empty()) return {Errc::not_found, what + ": it is empty; add one with: dgq quantize"};
  for (std::size_t i = 0; i < tags.size() && i < kShown; ++i)
    what += (i == 0 ? "; it has " : ", ") + tags[i].model + ":" + tags[i].tag;
  if (tags.size() > kShown) what += " and " + std::to_string(tags.size() - kShown) + " more";
  return {Errc::not_found, what};
}

}  // namespace

Result<void> Registry::State::require_writable() const {
  if (writable) return {};
  return Error{Errc::invalid, "registry " + path.string() + " was opened for reading only"};
}

Result<void> Registry::State::move_tag(const ModelRef& name, std::int64_t version, const Digest& digest,
                                       const char* action) {
  std::optional<Digest> from;
  DGQ_TRY(Statement old, db->query("SELECT v.digest FROM tag t JOIN version v ON v.id = t.version "
                                   "WHERE t.model = ? AND t.tag = ?",
                                   name.model, name.tag));
  DGQ_TRY(const bool existed, old.step());
  if (existed) {
    DGQ_TRY(from, old.digest(0));
    if (from == digest) return {};
  }
  if (std::string_view(action) != "add") DGQ_CHECK(require_trusted(*db, name, from, digest));
  DGQ_CHECK(
      db->run("INSERT INTO tag(model, tag, version, updated) VALUES (?, ?, ?, ?) ON CONFLICT(model, tag) "
              "DO UPDATE SET version = excluded.version, updated = excluded.updated",
              name.model, name.tag, version, unix_now_s()));
  return write_audit(*db, action, name.text(), from, digest);
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

  Sha256 hash;
  std::uint64_t done = 0;
  bool sink_failed = false;
  const auto read = read_chunks(row.integer(0), [&](const StoredChunk& chunk, auto raw) -> Result<void> {
    done += raw.size();
    if (done > bytes) return Error{Errc::corrupt, "holds more than its " + std::to_string(bytes) + " bytes"};
    hash.update(raw);
    auto taken = sink(chunk, raw);
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
  auto state = std::make_unique<State>();
  state->path = path;
  state->writable = mode == Mode::read_write;
  DGQ_TRY(state->db, open_database(path, state->writable, create));
  return Registry(std::move(state));
}

Result<std::vector<TagInfo>> Registry::list() {
  DGQ_TRY(Statement rows, state_->db->query("SELECT t.model, t.tag, v.digest, t.updated FROM tag t "
                                            "JOIN version v ON v.id = t.version ORDER BY t.model, t.tag"));
  std::vector<TagInfo> tags;
  while (true) {
    DGQ_TRY(const bool row, rows.step());
    if (!row) return tags;
    DGQ_TRY(const Digest digest, rows.digest(2));
    tags.push_back({std::string(rows.text(0)), std::string(rows.text(1)), digest, rows.integer(3)});
  }
}

Result<VersionInfo> Registry::resolve(std::string_view reference) {
  DGQ_TRY(Transaction snapshot, Transaction::begin(*state_->db, Transaction::Kind::read));
  DGQ_TRY(const std::vector<TagInfo> tags, list());
  const auto name = ModelRef::parse(reference);
  std::optional<Digest> digest;
  for (const TagInfo& tag : tags)
    if (name && tag.model == name->model && tag.tag == name->tag) digest = tag.version;
  if (!digest && is_digest_prefix(reference)) {
    for (const TagInfo& tag : tags) {
      if (!tag.version.hex().starts_with(reference)) continue;
      if (digest && *digest != tag.version)
        return Error{Errc::invalid, "'" + std::string(reference) +
                                        "' is the beginning of more than one version's " +
                                        "digest in registry " + path().string() + "; give more digits"};
      digest = tag.version;
    }
  }
  if (!digest) return name ? unknown_model(reference, path(), tags) : name.error();

  DGQ_TRY(Statement row,
          state_->db->query("SELECT manifest, created FROM version WHERE digest = ?", *digest));
  DGQ_TRY(const bool found, row.step());
  const std::string where = "registry " + path().string() + ": manifest of " + std::string(reference);
  if (!found || sha256(row.text(0)) != *digest)
    return Error{Errc::corrupt,
                 where + " does not match its digest; see what else with: dgq registry verify"};
  VersionInfo version{*digest, {}, row.integer(1), {}};
  DGQ_TRY(version.manifest, Manifest::parse(row.text(0), where));
  for (const TagInfo& tag : tags)
    if (tag.version == *digest) version.tags.push_back(tag.model + ":" + tag.tag);
  return version;
}

Result<void> Registry::tag(const Digest& version, const ModelRef& name) {
  DGQ_CHECK(state_->require_writable());
  DGQ_TRY(Transaction transaction, Transaction::begin(*state_->db, Transaction::Kind::write));
  DGQ_TRY(const auto id, state_->db->find_integer("SELECT id FROM version WHERE digest = ?", version));
  if (!id) return Error{Errc::not_found, "no version " + version.hex() + " in registry " + path().string()};
  DGQ_CHECK(state_->move_tag(name, *id, version, "tag"));
  return transaction.commit();
}

Result<Digest> Registry::remove(const ModelRef& name) {
  DGQ_CHECK(state_->require_writable());
  DGQ_TRY(Transaction transaction, Transaction::begin(*state_->db, Transaction::Kind::write));
  DGQ_TRY(const std::vector<TagInfo> tags, list());
  for (const TagInfo& tag : tags) {
    if (tag.model != name.model || tag.tag != name.tag) continue;
    DGQ_CHECK(state_->db->run("DELETE FROM tag WHERE model = ? AND tag = ?", name.model, name.tag));
    DGQ_CHECK(write_audit(*state_->db, "remove", name.text(), tag.version, std::nullopt));
    DGQ_CHECK(transaction.commit());
    return tag.version;
  }
  return unknown_model(name.text(), path(), tags);
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

Result<std::vector<BlobInfo>> Registry::blobs() {
  DGQ_TRY(Statement rows, state_->db->query("SELECT digest, bytes, stored_bytes FROM blob ORDER BY id"));
  std::vector<BlobInfo> blobs;
  while (true) {
    DGQ_TRY(const bool row, rows.step());
    if (!row) return blobs;
    DGQ_TRY(const Digest digest, rows.digest(0));
    blobs.push_back(
        {digest, static_cast<std::uint64_t>(rows.integer(1)), static_cast<std::uint64_t>(rows.integer(2))});
  }
}

Result<void> Registry::read_blob(const Digest& digest, const ByteSink& sink) {
  DGQ_TRY(Transaction snapshot, Transaction::begin(*state_->db, Transaction::Kind::read));
  return state_->read_blob(digest, [&](const StoredChunk&, auto raw) { return sink(raw); });
}

}  // namespace dgq
