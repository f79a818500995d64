// registry/diff.cpp - how two versions differ, blob by blob and tensor by tensor.
#include <map>

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

ByteDiff compare(std::span<const std::byte> a, std::span<const std::byte> b) {
  ByteDiff diff{a.size(), 0};
  for (std::size_t i = 0; i < a.size(); ++i) diff.differing += a[i] != b[i];
  return diff;
}

bool comparable(const TensorInfo& a, const TensorInfo& b) {
  return a.kind == b.kind && a.n == b.n && a.k == b.k && a.group == b.group && a.bias == b.bias;
}

std::vector<TensorDiff> compare_tensors(const LayerBlob& a, const LayerBlob& b) {
  std::vector<TensorDiff> diffs;
  for (const Tensor& tensor : a.tensors()) {
    TensorDiff diff{tensor.name, tensor, {}, {}};
    if (const Tensor* other = b.find(tensor.name)) {
      diff.b = *other;
      if (comparable(tensor, *other) && tensor.section.size() == other->section.size())
        diff.sections = compare(tensor.section, other->section);
    }
    if (!diff.sections || diff.sections->differing > 0) diffs.push_back(std::move(diff));
  }
  for (const Tensor& tensor : b.tensors())
    if (!a.find(tensor.name)) diffs.push_back({tensor.name, {}, tensor, {}});
  return diffs;
}

Result<std::vector<TensorDiff>> compare_blobs(Registry::State& registry, const BlobRef& a, const BlobRef& b) {
  const auto read = [&](const BlobRef& blob) -> Result<std::vector<std::byte>> {
    std::vector<std::byte> bytes;
    DGQ_CHECK(registry.read_blob(blob.digest, [&](const StoredChunk&, auto raw) -> Result<void> {
      bytes.insert(bytes.end(), raw.begin(), raw.end());
      return {};
    }));
    return bytes;
  };
  DGQ_TRY(const std::vector<std::byte> bytes_a, read(a));
  DGQ_TRY(const std::vector<std::byte> bytes_b, read(b));
  const auto layer_a = LayerBlob::parse(bytes_a, a.name), layer_b = LayerBlob::parse(bytes_b, b.name);
  if (!layer_a || !layer_b)
    return std::vector<TensorDiff>();  // anyone's: that they differ is all that is known
  return compare_tensors(*layer_a, *layer_b);
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
        DGQ_TRY(pair.tensors, compare_blobs(*state_, blob, *other));
      }
    }
    diff.blobs.push_back(std::move(pair));
  }
  for (const BlobRef& blob : diff.b.manifest.blobs)
    if (!diff.a.manifest.find(blob.name)) diff.blobs.push_back({blob.name, {}, blob, cost(blob)});
  return diff;
}

}  // namespace dgq
