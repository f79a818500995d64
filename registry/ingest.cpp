// registry/ingest.cpp - adding a version, so that being killed at any point leaves the registry as it was.
//
// A running add is a row of `ingest` whose id is a byte of <registry>.lock, locked while the add lives. The
// kernel lets go of the lock when the process dies, however it dies, so whoever can take the lock knows that
// the add is dead. Each blob is one transaction that also pins it to the ingest; commit() is one transaction
// that turns the pins into a version. Readers look at tags only, so they never see anything in between.
//
// The lock is an open-file-description lock (Linux 3.15): unlike fcntl's process locks it is not lost when
// another part of this process closes the same file, and it tells two adds of one process apart.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "registry/audit.h"
#include "registry/state.h"
#include "registry/trust_rows.h"

namespace dgq {

using sqlite::Statement;
using sqlite::Transaction;

namespace {

struct flock lock_of(std::int64_t ingest) {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = ingest;
  lock.l_len = 1;
  return lock;
}

// The registry's owner and mode for a lock file that was just made, as SQLite does for its -wal: one that root or another
// member of the group has made must not keep the others out.
void share_lock_file(const Fd& fd, const std::filesystem::path& registry) {
  struct stat info;
  if (::stat(registry.c_str(), &info) != 0) return;
  if (::geteuid() == 0 && ::fchown(fd.get(), info.st_uid, info.st_gid) != 0) return;
  static_cast<void>(::fchmod(fd.get(), info.st_mode & 0666));
}

Result<Fd> open_lock_file(const std::filesystem::path& registry) {
  const std::filesystem::path path = registry.string() + ".lock";
  if (Fd made(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666)); made) {
    share_lock_file(made, registry);
    return made;
  }
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  if (!fd) return errno_error("open", path, errno);
  return fd;
}

Result<bool> is_alive(const Fd& lock_file, std::int64_t ingest) {
  struct flock lock = lock_of(ingest);
  if (::fcntl(lock_file.get(), F_OFD_GETLK, &lock) != 0)
    return Error{Errc::io, std::string("cannot test a lock of the registry: ") + std::strerror(errno)};
  return lock.l_type != F_UNLCK;
}

// Asks only, so that it can also be done where nothing can be written.
Result<std::vector<std::int64_t>> dead_ingests(const std::filesystem::path& registry, Statement rows) {
  std::vector<std::int64_t> found, dead;
  while (true) {
    DGQ_TRY(const bool row, rows.step());
    if (!row) break;
    found.push_back(rows.integer(0));
  }
  if (found.empty()) return found;
  const std::filesystem::path path = registry.string() + ".lock";
  const Fd lock_file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!lock_file && errno == ENOENT) return found;  // then nobody holds a lock
  if (!lock_file) return errno_error("open", path, errno);
  for (const std::int64_t id : found) {
    DGQ_TRY(const bool alive, is_alive(lock_file, id));
    if (!alive) dead.push_back(id);
  }
  return dead;
}

// Long enough for someone to come back with the stick, short enough that what was given up does not stay for ever.
constexpr std::int64_t kKeepInterruptedS = 7 * 24 * 3600;

}  // namespace

Result<std::vector<std::int64_t>> Registry::State::reapable_ingests(bool interrupted_imports) {
  DGQ_TRY(Statement rows, db->query("SELECT id FROM ingest WHERE resume IS NULL OR started < ?",
                                    interrupted_imports ? INT64_MAX : unix_now_s() - kKeepInterruptedS));
  return dead_ingests(path, std::move(rows));
}

Result<std::int64_t> Registry::State::reap_dead_ingests(bool interrupted_imports) {
  DGQ_TRY(const std::vector<std::int64_t> dead, reapable_ingests(interrupted_imports));
  for (const std::int64_t id : dead) DGQ_CHECK(db->run("DELETE FROM ingest WHERE id = ?", id));
  return static_cast<std::int64_t>(dead.size());
}

Result<std::uint64_t> Registry::State::interrupted_imports() {
  DGQ_TRY(Statement rows, db->query("SELECT id FROM ingest WHERE resume IS NOT NULL"));
  DGQ_TRY(const std::vector<std::int64_t> dead, dead_ingests(path, std::move(rows)));
  return dead.size();
}

Result<std::unique_ptr<Ingest::State>> Registry::State::begin_ingest(const std::optional<Digest>& resume) {
  DGQ_CHECK(require_writable());
  DGQ_TRY(Transaction transaction, Transaction::begin(*db, Transaction::Kind::write));
  DGQ_TRY(const std::int64_t reaped, reap_dead_ingests(false));
  if (reaped > 0) DGQ_CHECK(sweep_blobs());
  DGQ_TRY(Fd lock_file, open_lock_file(path));
  DGQ_TRY(Statement before, db->query("SELECT id FROM ingest WHERE resume = ?", resume));  // none equals NULL
  DGQ_TRY(const std::vector<std::int64_t> dead, dead_ingests(path, std::move(before)));
  DGQ_CHECK(
      db->run("INSERT INTO ingest(started, who, resume) VALUES (?, ?, ?)", unix_now_s(), who_am_i(), resume));
  const std::int64_t id = db->last_insert_id();
  for (const std::int64_t old : dead) {
    DGQ_CHECK(db->run("UPDATE OR REPLACE ingest_blob SET ingest = ? WHERE ingest = ?", id, old));
    DGQ_CHECK(db->run("DELETE FROM ingest WHERE id = ?", old));
  }
  struct flock lock = lock_of(id);  // before others can see the row, so that it never looks dead
  if (::fcntl(lock_file.get(), F_OFD_SETLK, &lock) != 0)
    return errno_error("lock", path.string() + ".lock", errno);
  DGQ_CHECK(transaction.commit());
  return std::unique_ptr<Ingest::State>(
      new Ingest::State{.registry = this, .id = id, .lock = std::move(lock_file), .encoder = {}});
}

Result<Ingest> Registry::begin_ingest() {
  DGQ_TRY(std::unique_ptr<Ingest::State> state, state_->begin_ingest({}));
  return Ingest(std::move(state));
}

Ingest::Ingest(std::unique_ptr<State> state) : state_(std::move(state)) {}
Ingest::Ingest(Ingest&&) noexcept = default;
Ingest& Ingest::operator=(Ingest&&) noexcept = default;
Ingest::~Ingest() = default;

Ingest::State::~State() {
  if (committed) return;
  // What fails here is done by the next begin_ingest() or gc(): the lock goes with this object. An import keeps what it has.
  auto transaction = Transaction::begin(*registry->db, Transaction::Kind::write);
  if (!transaction ||
      !registry->db->run("DELETE FROM ingest WHERE id = ?1 AND (resume IS NULL OR NOT EXISTS "
                         "(SELECT 1 FROM ingest_blob WHERE ingest = ?1))",
                         id) ||
      !registry->sweep_blobs())
    return;
  if (transaction->commit()) static_cast<void>(registry->shrink());  // the reason may have been a full disk
}

Result<void> Ingest::State::insert_chunk(std::int64_t blob, const StoredChunk& chunk) {
  return registry->db->run(
      "INSERT INTO chunk(blob, position, codec, raw_bytes, base, data) VALUES (?, ?, ?, ?, ?, ?)", blob,
      chunk.position, chunk.codec, chunk.raw_bytes, chunk.base, chunk.data);
}

Result<void> Ingest::State::encode_chunk(std::int64_t blob, std::int64_t position,
                                         std::span<const std::byte> raw) {
  const ChunkEncoder::Chunk chunk = encoder.encode(raw);
  return insert_chunk(blob, {position, static_cast<std::int64_t>(chunk.codec),
                             static_cast<std::int64_t>(raw.size()), std::nullopt, chunk.stored});
}

Result<void> Ingest::State::add_up(std::int64_t blob) {
  return registry->db->run(
      "UPDATE blob SET stored_bytes = (SELECT coalesce(sum(length(data)), 0) FROM chunk WHERE blob = ?1) "
      "WHERE id = ?1",
      blob);
}

Result<void> Ingest::State::pin(std::int64_t blob) {
  return registry->db->run("INSERT OR IGNORE INTO ingest_blob(ingest, blob) VALUES (?, ?)", id, blob);
}

Result<std::int64_t> Ingest::State::empty_blob(std::optional<std::int64_t> damaged, std::string_view name,
                                               const Digest& digest, std::uint64_t bytes) {
  sqlite::Db& db = *registry->db;
  const auto length = static_cast<std::int64_t>(bytes);
  if (!damaged) {
    DGQ_CHECK(db.run("INSERT INTO blob(digest, bytes, stored_bytes) VALUES (?, ?, 0)", digest, length));
    return db.last_insert_id();
  }
  DGQ_CHECK(db.run("DELETE FROM chunk WHERE blob = ?", *damaged));
  DGQ_CHECK(db.run("UPDATE blob SET bytes = ? WHERE id = ?", length, *damaged));
  DGQ_CHECK(write_audit(db, "repair", name, std::nullopt, digest));
  return *damaged;
}

// The id of the blob with these bytes. One that is there already is compared with them, so that adding a
// model again repairs what has rotted in the store.
Result<std::int64_t> Ingest::State::store(std::string_view name, const Digest& digest,
                                          std::span<const std::byte> bytes, const Forget& forget) {
  DGQ_TRY(const auto found, registry->find_blob(digest));
  if (found) {
    auto rest = bytes;
    const auto compared = registry->read_chunks(*found, [&](const StoredChunk&, auto raw) -> Result<void> {
      if (raw.size() > rest.size() || std::memcmp(raw.data(), rest.data(), raw.size()) != 0)
        return Error{Errc::corrupt, "differs"};
      forget(rest.first(raw.size()));
      rest = rest.subspan(raw.size());
      return {};
    });
    if (compared && rest.empty()) return *found;
    if (!compared && compared.error().code != Errc::corrupt && compared.error().code != Errc::unsupported)
      return compared.error();
  }
  DGQ_TRY(const std::int64_t blob, empty_blob(found, name, digest, bytes.size()));
  for (std::int64_t position = 0; !bytes.empty(); ++position) {
    const auto raw = bytes.first(std::min(kChunkBytes, bytes.size()));
    DGQ_CHECK(encode_chunk(blob, position, raw));
    forget(raw);
    bytes = bytes.subspan(raw.size());
  }
  DGQ_CHECK(add_up(blob));
  return blob;
}

Result<BlobRef> Ingest::State::add_blob(std::string_view name, std::string_view media,
                                        std::span<const std::byte> bytes, const Forget& forget) {
  if (committed) return Error{Errc::invalid, "blob " + std::string(name) + ": this add is already committed"};
  Sha256 hash;
  for (auto rest = bytes; !rest.empty();) {
    const auto raw = rest.first(std::min(kChunkBytes, rest.size()));
    hash.update(raw);
    forget(raw);
    rest = rest.subspan(raw.size());
  }
  const Digest digest = hash.finish();
  DGQ_TRY(Transaction transaction, Transaction::begin(*registry->db, Transaction::Kind::write));
  DGQ_TRY(const std::int64_t blob, store(name, digest, bytes, forget));
  DGQ_CHECK(pin(blob));
  DGQ_CHECK(transaction.commit());
  return BlobRef{std::string(name), std::string(media), digest, bytes.size()};
}

Result<BlobRef> Ingest::add_blob(std::string_view name, std::string_view media,
                                 std::span<const std::byte> bytes) {
  return state_->add_blob(name, media, bytes, [](auto) {});
}

Result<BlobRef> Ingest::add_blob(std::string_view name, std::string_view media, const MappedFile& file) {
  return state_->add_blob(name, media, file.bytes(), forget_pages);
}

Result<Digest> Ingest::State::commit_version(const NewVersion& version, const char* action) {
  sqlite::Db& db = *registry->db;
  const Digest digest = sha256(version.text);
  DGQ_TRY(const auto known, db.find_integer("SELECT id FROM version WHERE digest = ?", digest));
  if (!known)
    DGQ_CHECK(db.run("INSERT INTO version(digest, manifest, created) VALUES (?, ?, ?)", digest, version.text,
                     unix_now_s()));
  const std::int64_t row = known ? *known : db.last_insert_id();
  for (const BlobRef& blob : version.manifest.blobs) {
    DGQ_TRY(const auto found, db.find_integer("SELECT id FROM blob WHERE digest = ? AND bytes = ?",
                                              blob.digest, static_cast<std::int64_t>(blob.bytes)));
    if (!found)
      return Error{Errc::not_found,
                   version.names.front().text() + ": blob " + blob.name + " was not added to the registry"};
    DGQ_CHECK(db.run("INSERT OR IGNORE INTO version_blob(version, blob) VALUES (?, ?)", row, *found));
  }
  DGQ_CHECK(store_signatures(db, row, version.signatures, "signature"));
  for (const ModelRef& name : version.names) DGQ_CHECK(registry->move_tag(name, row, digest, action));
  return digest;
}

Result<std::vector<Digest>> Ingest::State::commit(std::span<const NewVersion> versions, const char* action,
                                                  const std::vector<FileDigest>& sources,
                                                  const std::string& costs) {
  sqlite::Db& db = *registry->db;
  bool deltas = false;
  for (const NewVersion& version : versions) {
    // What readers would refuse is not stored.
    DGQ_CHECK(Manifest::parse(version.text, "manifest of " + version.names.front().text()));
    DGQ_TRY(const bool any, store_deltas(version.manifest, version.names.front()));
    deltas = deltas || any;
  }
  DGQ_TRY(Transaction transaction, Transaction::begin(db, Transaction::Kind::write));
  std::vector<Digest> digests;
  for (const NewVersion& version : versions) {
    DGQ_TRY(const Digest digest, commit_version(version, action));
    for (const FileDigest& file : sources)
      DGQ_CHECK(write_audit(db, "source", file.name, file.digest, digest));
    if (!costs.empty()) DGQ_CHECK(write_audit(db, "costs", costs, std::nullopt, digest));
    digests.push_back(digest);
  }
  DGQ_CHECK(db.run("DELETE FROM ingest WHERE id = ?", id));
  DGQ_CHECK(registry->sweep_blobs());  // what was added but is in no manifest
  DGQ_CHECK(transaction.commit());
  committed = true;
  if (deltas) static_cast<void>(registry->shrink());  // gives back what the plain chunks took
  return digests;
}

Result<Digest> Ingest::commit(const Manifest& manifest, const ModelRef& name,
                              const std::vector<FileDigest>& sources, const std::string& costs) {
  if (state_->committed) return Error{Errc::invalid, name.text() + ": this add is already committed"};
  const std::string text = manifest.canonical();
  const NewVersion version{manifest, text, std::span(&name, 1)};
  DGQ_TRY(const std::vector<Digest> digests, state_->commit(std::span(&version, 1), "add", sources, costs));
  return digests.front();
}

}  // namespace dgq
