// registry/import.cpp - versions from elsewhere into the registry: blob by blob, each a transaction that pins it; then one
// transaction that makes all versions visible. What an import leaves when it dies is taken up by the next one of the
// same contents (ingest.cpp).
#include "registry/exchange.h"
#include "registry/trust_rows.h"

namespace dgq {

using sqlite::Transaction;

namespace {

// For people: "layers.0 of demo:latest", by digest, of every blob of the versions.
std::map<Digest, std::string> blob_names(const BundleContents& contents) {
  std::map<Digest, std::string> names;
  for (const BundleVersion& version : contents.versions)
    for (const BlobRef& blob : version.manifest.blobs)
      names.emplace(blob.digest, blob.name + " of " + version.names.front().text());
  return names;
}

// What the versions and the chunks need but the bundle does not bring.
std::set<Digest> left_out(const BundleContents& contents) {
  std::set<Digest> needed, brought;
  for (const BundleBlob& blob : contents.blobs) {
    brought.insert(blob.digest);
    if (blob.base) needed.insert(*blob.base);
  }
  for (const BundleVersion& version : contents.versions)
    for (const BlobRef& blob : version.manifest.blobs) needed.insert(blob.digest);
  for (const Digest& digest : brought) needed.erase(digest);
  return needed;
}

Error lacks(const BundleContents& contents, const std::vector<Digest>& missing, const std::string& where) {
  constexpr std::size_t kShown = 4;
  const std::map<Digest, std::string> names = blob_names(contents);
  std::string what =
      where + " leaves out " + std::to_string(missing.size()) + " blobs that this registry lacks: ";
  for (std::size_t i = 0; i < missing.size() && i < kShown; ++i) {
    const auto name = names.find(missing[i]);
    what += (i == 0 ? "" : ", ") + (name == names.end() ? "the base of another" : name->second) + " (" +
            missing[i].short_hex() + ")";
  }
  if (missing.size() > kShown) what += " and more";
  what += contents.since
              ? "; import version " + contents.since->short_hex() + " first, or a bundle made without --since"
              : "";
  return {Errc::not_found, what};
}

// Pins what the bundle left out, so that gc cannot take it meanwhile.
Result<void> pin_left_out(Ingest::State& ingest, const BundleContents& contents, const std::string& where) {
  DGQ_TRY(Transaction transaction, Transaction::begin(*ingest.registry->db, Transaction::Kind::write));
  std::vector<Digest> missing;
  for (const Digest& digest : left_out(contents)) {
    DGQ_TRY(const auto found, ingest.registry->find_blob(digest));
    if (found)
      DGQ_CHECK(ingest.pin(*found));
    else
      missing.push_back(digest);
  }
  if (!missing.empty()) return lacks(contents, missing, where);
  return transaction.commit();
}

Result<void> commit(Ingest::State& ingest, const BundleContents& contents) {
  std::vector<NewVersion> versions;
  for (const BundleVersion& version : contents.versions)
    versions.push_back({version.manifest, version.text, version.names, version.signatures});
  DGQ_CHECK(ingest.commit(versions, "import", {}, {}));
  return {};
}

}  // namespace

Receiver::Receiver(Ingest::State& ingest, const BundleContents& contents, std::string where,
                   BlobProgress progress)
    : ingest_(ingest),
      where_(std::move(where)),
      progress_(std::move(progress)),
      names_(blob_names(contents)),
      total_(summary_of(contents).bytes) {}

void Receiver::advance(std::uint64_t bytes) {
  done_ += bytes;
  if (progress_) progress_(done_, total_);
}

Result<bool> Receiver::is_whole(const Digest& digest) {
  const auto read = ingest_.registry->read_blob(digest, [](const auto&, auto) { return Result<void>(); });
  if (read) return true;
  if (read.error().code == Errc::io || read.error().code == Errc::busy) return read.error();
  return false;
}

Result<void> Receiver::receive(const BundleBlob& blob, const ChunkSource& source) {
  Registry::State& registry = *ingest_.registry;
  DGQ_TRY(Transaction transaction, Transaction::begin(*registry.db, Transaction::Kind::write));
  DGQ_TRY(const auto found, registry.find_blob(blob.digest));
  DGQ_TRY(const bool whole, found ? is_whole(blob.digest) : Result<bool>(false));
  if (!whole) {
    DGQ_CHECK(store(blob, source, found));
  } else {
    for (std::uint64_t left = blob.bytes; left > 0;) {
      DGQ_TRY(const BundleChunk chunk, source(left));
      left -= chunk.raw_bytes;
      advance(chunk.raw_bytes);
    }
    DGQ_CHECK(ingest_.pin(*found));
  }
  DGQ_CHECK(transaction.commit());
  new_blobs_ += !whole;
  return {};
}

Result<void> Receiver::store(const BundleBlob& blob, const ChunkSource& source,
                             std::optional<std::int64_t> damaged) {
  const std::string& name = names_.at(blob.digest);
  DGQ_TRY(const std::int64_t id, ingest_.empty_blob(damaged, name, blob.digest, blob.bytes));
  std::optional<std::int64_t> base;
  if (blob.base) {
    DGQ_TRY(base, ingest_.registry->find_blob(*blob.base));
  }
  BundleChunkDecoder decoder(*ingest_.registry->db);
  Sha256Beside hash;
  std::uint64_t left = blob.bytes;
  for (std::int64_t position = 0; left > 0; ++position) {
    DGQ_TRY(const BundleChunk chunk, source(left));
    // Others may be stored against a damaged one, so that one gets no base.
    const auto raw = store_chunk(decoder, id, position, chunk, base, damaged.has_value(), hash);
    if (!raw)
      return Error{raw.error().code,
                   where_ + ": " + name + ": chunk " + std::to_string(position) + " " + raw.error().what};
    left -= raw->size();
    advance(raw->size());
  }
  if (hash.finish() != blob.digest)
    return Error{Errc::corrupt, where_ + ": " + name + ": its bytes do not match its digest"};
  DGQ_CHECK(ingest_.add_up(id));
  return ingest_.pin(id);
}

Result<std::span<const std::byte>> Receiver::store_chunk(BundleChunkDecoder& decoder, std::int64_t blob,
                                                         std::int64_t position, const BundleChunk& chunk,
                                                         std::optional<std::int64_t> base, bool plainly,
                                                         Sha256Beside& hash) {
  DGQ_TRY(const auto decoded, decoder.decode(chunk, position, base));
  const bool based = chunk.codec == BundleCodec::zstd_with_base;
  // Raw bytes come from bundles where zstd gained too little, and from OCI layouts, where it was not tried.
  const bool encode = chunk.codec == BundleCodec::raw || (based && (plainly || decoded.base_is_based));
  const StoredChunk stored{position, static_cast<std::int64_t>(ChunkCodec::zstd), chunk.raw_bytes,
                           based ? base : std::nullopt, chunk.data};
  hash.update(decoded.raw);
  DGQ_CHECK(encode ? ingest_.encode_chunk(blob, position, decoded.raw) : ingest_.insert_chunk(blob, stored));
  return decoded.raw;
}

Result<BundleChunkDecoder::Decoded> BundleChunkDecoder::decode(const BundleChunk& chunk,
                                                               std::int64_t position,
                                                               std::optional<std::int64_t> base) {
  std::optional<ChunkReader::Found> prefix;
  if (chunk.codec == BundleCodec::zstd_with_base) {
    if (base) {
      DGQ_TRY(prefix, bases_.find(*base, position));
    }
    if (!prefix) return Error{Errc::corrupt, "needs a base that is not there"};
  }
  const ChunkCodec codec = chunk.codec == BundleCodec::raw ? ChunkCodec::raw : ChunkCodec::zstd;
  DGQ_TRY(const auto raw, decoder_.decode(static_cast<std::int64_t>(codec), chunk.raw_bytes, chunk.data,
                                          prefix ? prefix->raw : std::span<const std::byte>()));
  return Decoded{raw, prefix && prefix->based};
}

Result<BundleSummary> import_contents(Registry::State& registry, const BundleContents& contents,
                                      const std::string& where, const BlobProgress& progress,
                                      const std::function<Result<void>(Receiver&)>& fill) {
  DGQ_TRY(std::vector<std::string> warnings, check_import(*registry.db, contents));
  DGQ_TRY(const std::unique_ptr<Ingest::State> ingest, registry.begin_ingest(sha256(contents.text())));
  DGQ_CHECK(pin_left_out(*ingest, contents, where));
  Receiver receiver(*ingest, contents, where, progress);
  auto done = fill(receiver);
  if (done) done = commit(*ingest, contents);
  if (!done && receiver.new_blobs() > 0)
    return Error{done.error().code, done.error().what +
                                        " (what arrived is kept for the next import of it, blobs: " +
                                        std::to_string(receiver.new_blobs()) + ")"};
  DGQ_CHECK(done);
  BundleSummary summary = summary_of(contents);
  summary.new_blobs = receiver.new_blobs();
  summary.warnings = std::move(warnings);
  return summary;
}

}  // namespace dgq
