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

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "registry/audit.h"
#include "registry/state.h"

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

Result<Fd> open_lock_file(const std::filesystem::path& registry) {
  const std::filesystem::path path = registry.string() + ".lock";
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

}  // namespace

Result<std::int64_t> Registry::State::reap_dead_ingests() {
  DGQ_TRY(const Fd lock_file, open_lock_file(path));
  std::vector<std::int64_t> dead;
  DGQ_TRY(Statement rows, db->query("SELECT id FROM ingest"));
  while (true) {
    DGQ_TRY(const bool row, rows.step());
    if (!row) break;
    DGQ_TRY(const bool alive, is_alive(lock_file, rows.integer(0)));
    if (!alive) dead.push_back(rows.integer(0));
  }
  for (const std::int64_t id : dead) DGQ_CHECK(db->run("DELETE FROM ingest WHERE id = ?", id));
  return static_cast<std::int64_t>(dead.size());
}

Result<Ingest> Registry::begin_ingest() {
  DGQ_CHECK(state_->require_writable());
  DGQ_TRY(Transaction transaction, Transaction::begin(*state_->db, Transaction::Kind::write));
  DGQ_TRY(const std::int64_t dead, state_->reap_dead_ingests());
  if (dead > 0) DGQ_CHECK(state_->sweep_blobs());
  DGQ_CHECK(state_->db->run("INSERT INTO ingest(started, who) VALUES (?, ?)", unix_now_s(), who_am_i()));
  const std::int64_t id = state_->db->last_insert_id();
  DGQ_TRY(Fd lock_file, open_lock_file(path()));
  struct flock lock = lock_of(id);  // before others can see the row, so that it never looks dead
  if (::fcntl(lock_file.get(), F_OFD_SETLK, &lock) != 0)
    return errno_error("lock", path().string() + ".lock", errno);
  DGQ_CHECK(transaction.commit());
  return Ingest(std::unique_ptr<Ingest::State>(
      new Ingest::State{.registry = state_.get(), .id = id, .lock = std::move(lock_file), .encoder = {}}));
}

Ingest::Ingest(std::unique_ptr<State> state) : state_(std::move(state)) {}
Ingest::Ingest(Ingest&&) noexcept = default;
Ingest& Ingest::operator=(Ingest&&) noexcept = default;
Ingest::~Ingest() = default;

Ingest::State::~State() {
  if (committed) return;
  // What fails here is done by the next begin_ingest() or gc(): the lock goes with this object.
  auto transaction = Transaction::begin(*registry->db, Transaction::Kind::write);
  if (!transaction || !registry->db->run("DELETE FROM ingest WHERE id = ?", id) || !registry->sweep_blobs())
    return;
  if (transaction->commit()) static_cast<void>(registry->shrink());  // the reason may have been a full disk
}

Result<void> Ingest::State::write_chunks(std::int64_t blob, std::span<const std::byte> bytes) {
  std::int64_t stored_bytes = 0;
  for (std::int64_t position = 0; !bytes.empty(); ++position) {
    const auto raw = bytes.first(std::min(kChunkBytes, bytes.size()));
    const ChunkEncoder::Chunk chunk = encoder.encode(raw);
    DGQ_CHECK(registry->db->run(
        "INSERT INTO chunk(blob, position, codec, raw_bytes, data) VALUES (?, ?, ?, ?, ?)", blob, position,
        static_cast<std::int64_t>(chunk.codec), static_cast<std::int64_t>(raw.size()), chunk.stored));
    stored_bytes += static_cast<std::int64_t>(chunk.stored.size());
    bytes = bytes.subspan(raw.size());
  }
  return registry->db->run("UPDATE blob SET stored_bytes = ? WHERE id = ?", stored_bytes, blob);
}

// The id of the blob with these bytes. One that is there already is compared with them, so that adding a
// model again repairs what has rotted in the store.
Result<std::int64_t> Ingest::State::store(std::string_view name, const Digest& digest,
                                          std::span<const std::byte> bytes) {
  DGQ_TRY(const auto found, registry->find_blob(digest));
  if (!found) {
    DGQ_CHECK(registry->db->run("INSERT INTO blob(digest, bytes, stored_bytes) VALUES (?, ?, 0)", digest,
                                static_cast<std::int64_t>(bytes.size())));
    const std::int64_t id = registry->db->last_insert_id();
    DGQ_CHECK(write_chunks(id, bytes));
    return id;
  }
  auto rest = bytes;
  const auto compared = registry->read_chunks(*found, [&](std::span<const std::byte> raw) -> Result<void> {
    if (raw.size() > rest.size() || std::memcmp(raw.data(), rest.data(), raw.size()) != 0)
      return Error{Errc::corrupt, "differs"};
    rest = rest.subspan(raw.size());
    return {};
  });
  if (compared && rest.empty()) return *found;
  if (!compared && compared.error().code != Errc::corrupt && compared.error().code != Errc::unsupported)
    return compared.error();
  DGQ_CHECK(registry->db->run("DELETE FROM chunk WHERE blob = ?", *found));
  DGQ_CHECK(registry->db->run("UPDATE blob SET bytes = ? WHERE id = ?",
                              static_cast<std::int64_t>(bytes.size()), *found));
  DGQ_CHECK(write_chunks(*found, bytes));
  DGQ_CHECK(write_audit(*registry->db, "repair", name, std::nullopt, digest));
  return *found;
}

Result<BlobRef> Ingest::add_blob(std::string_view name, std::string_view media,
                                 std::span<const std::byte> bytes) {
  if (state_->committed)
    return Error{Errc::invalid, "blob " + std::string(name) + ": this add is already committed"};
  const Digest digest = sha256(bytes);
  sqlite::Db& db = *state_->registry->db;
  DGQ_TRY(Transaction transaction, Transaction::begin(db, Transaction::Kind::write));
  DGQ_TRY(const std::int64_t blob, state_->store(name, digest, bytes));
  DGQ_CHECK(db.run("INSERT OR IGNORE INTO ingest_blob(ingest, blob) VALUES (?, ?)", state_->id, blob));
  DGQ_CHECK(transaction.commit());
  return BlobRef{std::string(name), std::string(media), digest, bytes.size()};
}

Result<Digest> Ingest::commit(const Manifest& manifest, const ModelRef& name,
                              const std::vector<FileDigest>& sources, const std::string& costs) {
  if (state_->committed) return Error{Errc::invalid, name.text() + ": this add is already committed"};
  const std::string text = manifest.canonical();
  DGQ_CHECK(Manifest::parse(text, "manifest of " + name.text()));  // what readers would refuse is not stored
  const Digest digest = sha256(text);
  sqlite::Db& db = *state_->registry->db;

  DGQ_TRY(Transaction transaction, Transaction::begin(db, Transaction::Kind::write));
  DGQ_TRY(const auto known, db.find_integer("SELECT id FROM version WHERE digest = ?", digest));
  if (!known)
    DGQ_CHECK(db.run("INSERT INTO version(digest, manifest, created) VALUES (?, ?, ?)", digest, text,
                     unix_now_s()));
  const std::int64_t version = known ? *known : db.last_insert_id();
  for (const BlobRef& blob : manifest.blobs) {
    DGQ_TRY(const auto id, db.find_integer("SELECT id FROM blob WHERE digest = ? AND bytes = ?", blob.digest,
                                           static_cast<std::int64_t>(blob.bytes)));
    if (!id)
      return Error{Errc::not_found, name.text() + ": blob " + blob.name + " was not added to the registry"};
    DGQ_CHECK(db.run("INSERT OR IGNORE INTO version_blob(version, blob) VALUES (?, ?)", version, *id));
  }
  DGQ_CHECK(state_->registry->move_tag(name, version, digest, "add"));
  for (const FileDigest& file : sources) DGQ_CHECK(write_audit(db, "source", file.name, file.digest, digest));
  if (!costs.empty()) DGQ_CHECK(write_audit(db, "costs", costs, std::nullopt, digest));
  DGQ_CHECK(db.run("DELETE FROM ingest WHERE id = ?", state_->id));
  DGQ_CHECK(state_->registry->sweep_blobs());  // what was added but is not in the manifest
  DGQ_CHECK(transaction.commit());
  state_->committed = true;
  return digest;
}

}  // namespace dgq
