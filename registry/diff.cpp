// registry/diff.cpp - how two versions differ, blob by blob and tensor by tensor.
#include <algorithm>
#include <map>

#include "registry/chunk_reader.h"
#include "registry/layer_blob.h"
#include "registry/state.h"

namespace dgq {

using sqlite::Statement;
using sqlite::Transaction;

namespace {

// What the blobs of version ?2 that ?1 has not take in a bundle for someone who has ?1. A chunk whose base that one will not
// have either is written plainly; how small it gets is not known before, so it counts with its raw bytes.
constexpr const char* kTransfer = R"sql(
SELECT b.digest, coalesce(sum(CASE WHEN c.base IS NULL OR c.base IN (SELECT blob FROM version_blob WHERE version IN (?1, ?2))
                     THEN length(c.data) ELSE c.raw_bytes END), 0)
FROM version_blob x JOIN blob b ON b.id = x.blob LEFT JOIN chunk c ON c.blob = b.id
WHERE x.version = ?2 AND x.blob NOT IN (SELECT blob FROM version_blob WHERE version = ?1) GROUP BY b.id)sql";

using TransferBytes = std::map<Digest, std::uint64_t>;

Result<TransferBytes> transfer_bytes(sqlite::Db& db, const Digest& a, const Digest& b) {
  DGQ_TRY(const std::int64_t have, db.integer("SELECT id FROM version WHERE digest = ?", a));
  DGQ_TRY(const std::int64_t want, db.integer("SELECT id FROM version WHERE digest = ?", b));
  DGQ_TRY(Statement rows, db.query(kTransfer, have, want));
  TransferBytes bytes;
  while (true) {
    DGQ_TRY(const bool row, rows.step());
    if (!row) return bytes;
    DGQ_TRY(const Digest digest, rows.digest(0));
    bytes[digest] = static_cast<std::uint64_t>(rows.integer(1));
  }
}

// A stored layer blob: its tensors, and its bytes at any place with one chunk in memory.
class StoredLayer {
 public:
  explicit StoredLayer(Registry::State& registry) : registry_(registry), chunks_(*registry.db) {}
  Result<void> open(const BlobRef& blob) {
    DGQ_TRY(const std::optional<std::int64_t> id, registry_.find_blob(blob.digest));
    if (!id) return Error{Errc::not_found, "blob " + blob.digest.short_hex() + " is not there"};
    id_ = *id;
    if (blob.bytes == 0) return {};
    static_assert(kMaxTableBytes <= kChunkBytes);
    DGQ_TRY(const std::span<const std::byte> beginning, from(0));
    if (auto table = parse_layer_table(beginning, blob.bytes, blob.name)) tensors_ = std::move(*table);
    return {};
  }
  // None: the blob is anyone's; that it differs is all that is known.
  const std::vector<TensorPlace>& tensors() const { return tensors_; }
  const TensorPlace* find(const std::string& name) const {
    const auto found = std::ranges::find(tensors_, name, &TensorPlace::name);
    return found == tensors_.end() ? nullptr : &*found;
  }
  // From `offset` to the end of its chunk; borrowed until the next call.
  Result<std::span<const std::byte>> from(std::uint64_t offset) {
    const auto position = static_cast<std::int64_t>(offset / kChunkBytes);
    if (position != position_) {
      position_ = -1;
      DGQ_TRY(const auto found, chunks_.find(id_, position));
      chunk_ = found ? found->raw : std::span<const std::byte>();
      position_ = position;
    }
    if (offset % kChunkBytes >= chunk_.size())
      return Error{Errc::corrupt, "chunk " + std::to_string(position) + " is missing or too short"};
    return chunk_.subspan(offset % kChunkBytes);
  }

 private:
  Registry::State& registry_;
  ChunkReader chunks_;
  std::vector<TensorPlace> tensors_;
  std::int64_t id_ = 0, position_ = -1;
  std::span<const std::byte> chunk_;
};

Result<ByteDiff> compare(StoredLayer& a, const TensorPlace& in_a, StoredLayer& b, const TensorPlace& in_b) {
  ByteDiff diff{in_a.bytes, 0};
  for (std::uint64_t done = 0; done < in_a.bytes;) {
    DGQ_TRY(const std::span<const std::byte> bytes_a, a.from(in_a.offset + done));
    DGQ_TRY(const std::span<const std::byte> bytes_b, b.from(in_b.offset + done));
    const std::size_t size = std::min({bytes_a.size(), bytes_b.size(), in_a.bytes - done});
    for (std::size_t i = 0; i < size; ++i) diff.differing += bytes_a[i] != bytes_b[i];
    done += size;
  }
  return diff;
}

bool comparable(const TensorPlace& a, const TensorPlace& b) {
  return a.kind == b.kind && a.n == b.n && a.k == b.k && a.group == b.group && a.bias == b.bias &&
         a.bytes == b.bytes;
}

Result<std::vector<TensorDiff>> compare_tensors(StoredLayer& a, StoredLayer& b) {
  std::vector<TensorDiff> diffs;
  for (const TensorPlace& tensor : a.tensors()) {
    TensorDiff diff{tensor.name, tensor, {}, {}};
    if (const TensorPlace* other = b.find(tensor.name)) {
      diff.b = *other;
      if (comparable(tensor, *other)) {
        DGQ_TRY(diff.sections, compare(a, tensor, b, *other));
      }
    }
    if (!diff.sections || diff.sections->differing > 0) diffs.push_back(std::move(diff));
  }
  for (const TensorPlace& tensor : b.tensors())
    if (!a.find(tensor.name)) diffs.push_back({tensor.name, {}, tensor, {}});
  return diffs;
}

Result<std::vector<TensorDiff>> compare_blobs(Registry::State& registry, const BlobRef& a, const BlobRef& b) {
  StoredLayer layer_a(registry), layer_b(registry);
  DGQ_CHECK(layer_a.open(a));
  DGQ_CHECK(layer_b.open(b));
  if (layer_a.tensors().empty() || layer_b.tensors().empty()) return std::vector<TensorDiff>();
  return compare_tensors(layer_a, layer_b);
}

}  // namespace

Result<VersionDiff> Registry::diff(std::string_view a, std::string_view b) {
  VersionDiff diff;
  DGQ_TRY(diff.a, resolve(a));
  DGQ_TRY(diff.b, resolve(b));
  DGQ_TRY(Transaction snapshot, Transaction::begin(*state_->db, Transaction::Kind::read));
  DGQ_TRY(TransferBytes transfer, transfer_bytes(*state_->db, diff.a.digest, diff.b.digest));
  // A blob that version B has under two names travels once.
  const auto cost = [&](const BlobRef& blob) { return std::exchange(transfer[blob.digest], 0); };
  for (const BlobRef& blob : diff.a.manifest.blobs) {
    BlobDiff pair{blob.name, blob, {}};
    if (const BlobRef* other = diff.b.manifest.find(blob.name)) {
      pair.b = *other;
      pair.transfer_bytes = cost(*other);
      if (!pair.same() && blob.media == "layer" && other->media == "layer") {
        auto tensors = compare_blobs(*state_, blob, *other);
        if (!tensors)
          return Error{tensors.error().code,
                       "registry " + path().string() + ": " + blob.name + ": " + tensors.error().what};
        pair.tensors = std::move(*tensors);
      }
    }
    diff.blobs.push_back(std::move(pair));
  }
  for (const BlobRef& blob : diff.b.manifest.blobs)
    if (!diff.a.manifest.find(blob.name)) diff.blobs.push_back({blob.name, {}, blob, cost(blob)});
  return diff;
}

}  // namespace dgq
