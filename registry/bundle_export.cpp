// registry/bundle_export.cpp - versions out of the registry into a bundle, chunks as they are stored.
#include <algorithm>

#include "registry/exchange.h"
#include "registry/trust_rows.h"

namespace dgq {

using sqlite::Statement;
using sqlite::Transaction;

namespace {

Result<BundleVersion> read_version(sqlite::Db& db, const std::string& reference, VersionInfo info) {
  DGQ_TRY(Statement row, db.query("SELECT manifest FROM version WHERE digest = ?", info.digest));
  DGQ_TRY(const bool found, row.step());
  if (!found) return Error{Errc::not_found, reference + " was removed while the export began"};
  BundleVersion version{std::string(row.text(0)), std::move(info.manifest), info.digest, {}};
  DGQ_TRY(const auto signatures, stored_signatures(db, {}, info.digest));
  for (const SignatureInfo& stored : signatures) version.signatures.push_back(stored.signature);
  if (const auto name = ModelRef::parse(reference);
      name && std::find(info.tags.begin(), info.tags.end(), name->text()) != info.tags.end())
    info.tags = {name->text()};
  for (const std::string& tag : info.tags) {
    DGQ_TRY(ModelRef name, ModelRef::parse(tag));
    version.names.push_back(std::move(name));
  }
  return version;
}

// A version that is named twice goes once, with both names.
void add_version(std::vector<BundleVersion>& versions, BundleVersion version) {
  for (BundleVersion& known : versions) {
    if (known.digest != version.digest) continue;
    for (ModelRef& name : version.names) {
      const auto same = [&](const ModelRef& other) { return other.text() == name.text(); };
      if (std::none_of(known.names.begin(), known.names.end(), same)) known.names.push_back(std::move(name));
    }
    return;
  }
  versions.push_back(std::move(version));
}

// What the blob is stored against.
Result<std::optional<Digest>> base_of(sqlite::Db& db, const Digest& blob) {
  DGQ_TRY(Statement row,
          db.query("SELECT digest FROM blob WHERE id = (SELECT min(base) FROM chunk WHERE base IS NOT NULL "
                   "AND blob = (SELECT id FROM blob WHERE digest = ?))",
                   blob));
  DGQ_TRY(const bool found, row.step());
  if (!found) return std::optional<Digest>();
  DGQ_TRY(const Digest digest, row.digest(0));
  return std::optional(digest);
}

// Those without a base first, so that a base precedes what needs it. A base that the receiver will not have is dropped: that blob
// is written plainly.
Result<std::vector<BundleBlob>> choose_blobs(sqlite::Db& db, const std::vector<BundleVersion>& versions,
                                             const std::set<Digest>& left_out) {
  std::vector<BundleBlob> blobs = blobs_of(versions, left_out);
  std::set<Digest> there = left_out;
  for (const BundleBlob& blob : blobs) there.insert(blob.digest);
  for (BundleBlob& blob : blobs) {
    DGQ_TRY(blob.base, base_of(db, blob.digest));
    if (blob.base && !there.contains(*blob.base)) blob.base.reset();
  }
  std::stable_partition(blobs.begin(), blobs.end(), [](const BundleBlob& blob) { return !blob.base; });
  return blobs;
}

Result<void> write_chunk(const StoredChunk& stored, std::span<const std::byte> raw, bool plainly,
                         ChunkEncoder& encoder, BundleWriter& writer) {
  const auto raw_bytes = static_cast<std::uint32_t>(raw.size());
  if (stored.base && plainly) {
    const ChunkEncoder::Chunk chunk = encoder.encode(raw);
    return writer.chunk({static_cast<BundleCodec>(chunk.codec), raw_bytes, chunk.stored});
  }
  const BundleCodec codec =
      stored.base ? BundleCodec::zstd_with_base : static_cast<BundleCodec>(stored.codec);
  return writer.chunk({codec, raw_bytes, stored.data});
}

}  // namespace

Result<std::vector<BundleVersion>> versions_to_export(Registry& registry, sqlite::Db& db,
                                                      const std::vector<std::string>& references) {
  std::vector<BundleVersion> versions;
  for (const std::string& reference : references) {
    DGQ_TRY(VersionInfo info, registry.resolve(reference));
    DGQ_TRY(BundleVersion version, read_version(db, reference, std::move(info)));
    add_version(versions, std::move(version));
  }
  return versions;
}

std::vector<BundleBlob> blobs_of(const std::vector<BundleVersion>& versions, std::set<Digest> left_out) {
  std::vector<BundleBlob> blobs;
  for (const BundleVersion& version : versions)
    for (const BlobRef& blob : version.manifest.blobs)
      if (left_out.insert(blob.digest).second) blobs.push_back({blob.digest, blob.bytes, {}});
  return blobs;
}

Result<BundleSummary> Registry::export_bundle(const std::vector<std::string>& references,
                                              const std::optional<std::string>& since, const ByteSink& sink,
                                              const BlobProgress& progress) {
  sqlite::Db& db = *state_->db;
  BundleContents contents;
  std::set<Digest> left_out;
  if (since) {
    DGQ_TRY(const VersionInfo base, resolve(*since));
    contents.since = base.digest;
    for (const BlobRef& blob : base.manifest.blobs) left_out.insert(blob.digest);
  }
  DGQ_TRY(contents.versions, versions_to_export(*this, db, references));
  DGQ_TRY(Transaction snapshot, Transaction::begin(db, Transaction::Kind::read));
  DGQ_TRY(contents.blobs, choose_blobs(db, contents.versions, left_out));

  BundleSummary summary = summary_of(contents);
  std::uint64_t done = 0;
  BundleWriter writer(sink);
  ChunkEncoder encoder;
  DGQ_CHECK(writer.begin(contents));
  for (const BundleBlob& blob : contents.blobs)
    DGQ_CHECK(state_->read_blob(blob.digest, [&](const StoredChunk& chunk, auto raw) -> Result<void> {
      done += raw.size();
      if (progress) progress(done, summary.bytes);
      return write_chunk(chunk, raw, !blob.base, encoder, writer);
    }));
  DGQ_CHECK(writer.finish());
  return summary;
}

}  // namespace dgq
