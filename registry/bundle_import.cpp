// registry/bundle_import.cpp - a bundle into the registry: blob by blob, each a transaction that pins it; then one
// transaction that makes all versions visible. What an import leaves when it dies is taken up by the next one of
// the same contents (ingest.cpp).
#include <map>
#include <set>

#include "registry/bundle.h"
#include "registry/state.h"

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

class Receiver {
 public:
  Receiver(Ingest::State& ingest, BundleReader& reader, std::function<void(std::size_t)> progress)
      : ingest_(ingest), reader_(reader), progress_(std::move(progress)) {}
  // Reads the chunks of one blob and stores them, unless they are there; in a transaction of its own, which pins it. Whether
  // the blob is new. name: for people.
  Result<bool> receive(const BundleBlob& blob, const std::string& name);

 private:
  Result<bool> is_whole(const Digest& digest);
  Result<void> store(const BundleBlob& blob, const std::string& name, std::optional<std::int64_t> damaged);
  Result<std::span<const std::byte>> store_chunk(std::int64_t blob, std::int64_t position,
                                                 const BundleChunk& chunk, std::optional<std::int64_t> base,
                                                 bool plainly);

  Ingest::State& ingest_;
  BundleReader& reader_;
  std::function<void(std::size_t)> progress_;
  ChunkDecoder decoder_;
};

// What is there is hashed, so that an import repairs what has rotted in the store.
Result<bool> Receiver::is_whole(const Digest& digest) {
  const auto read = ingest_.registry->read_blob(digest, [](const auto&, auto) { return Result<void>(); });
  if (read) return true;
  if (read.error().code == Errc::io || read.error().code == Errc::busy) return read.error();
  return false;
}

Result<bool> Receiver::receive(const BundleBlob& blob, const std::string& name) {
  Registry::State& registry = *ingest_.registry;
  DGQ_TRY(Transaction transaction, Transaction::begin(*registry.db, Transaction::Kind::write));
  DGQ_TRY(const auto found, registry.find_blob(blob.digest));
  DGQ_TRY(const bool whole, found ? is_whole(blob.digest) : Result<bool>(false));
  if (!whole) {
    DGQ_CHECK(store(blob, name, found));
  } else {
    for (std::uint64_t left = blob.bytes; left > 0;) {
      DGQ_TRY(const BundleChunk chunk, reader_.next(left));
      left -= chunk.raw_bytes;
      progress_(chunk.raw_bytes);
    }
    DGQ_CHECK(ingest_.pin(*found));
  }
  DGQ_CHECK(transaction.commit());
  return !whole;
}

Result<void> Receiver::store(const BundleBlob& blob, const std::string& name,
                             std::optional<std::int64_t> damaged) {
  DGQ_TRY(const std::int64_t id, ingest_.empty_blob(damaged, name, blob.digest, blob.bytes));
  std::optional<std::int64_t> base;
  if (blob.base) {
    DGQ_TRY(base, ingest_.registry->find_blob(*blob.base));
  }
  Sha256 hash;
  std::uint64_t left = blob.bytes;
  for (std::int64_t position = 0; left > 0; ++position) {
    DGQ_TRY(const BundleChunk chunk, reader_.next(left));
    // Others may be stored against a damaged one, so that one gets no base.
    const auto raw = store_chunk(id, position, chunk, base, damaged.has_value());
    if (!raw)
      return Error{raw.error().code, reader_.where() + ": " + name + ": chunk " + std::to_string(position) +
                                         " " + raw.error().what};
    hash.update(*raw);
    left -= raw->size();
    progress_(raw->size());
  }
  if (hash.finish() != blob.digest)
    return Error{Errc::corrupt, reader_.where() + ": " + name + ": its bytes do not match its digest"};
  DGQ_CHECK(ingest_.add_up(id));
  return ingest_.pin(id);
}

// The raw bytes, borrowed until the next call.
Result<std::span<const std::byte>> Receiver::store_chunk(std::int64_t blob, std::int64_t position,
                                                         const BundleChunk& chunk,
                                                         std::optional<std::int64_t> base, bool plainly) {
  ChunkReader bases(*ingest_.registry->db);
  std::span<const std::byte> prefix;
  const bool based = chunk.codec == BundleCodec::zstd_with_base;
  if (based) {
    std::optional<ChunkReader::Found> found;
    if (base) {
      DGQ_TRY(found, bases.find(*base, position));
    }
    if (!found) return Error{Errc::corrupt, "needs a base that is not there"};
    prefix = found->raw;
    plainly = plainly || found->based;  // chains are one deep
  }
  const ChunkCodec codec = chunk.codec == BundleCodec::raw ? ChunkCodec::raw : ChunkCodec::zstd;
  const StoredChunk stored{position, static_cast<std::int64_t>(codec), chunk.raw_bytes,
                           based ? base : std::nullopt, chunk.data};
  DGQ_TRY(const auto raw, decoder_.decode(stored.codec, stored.raw_bytes, stored.data, prefix));
  DGQ_CHECK(based && plainly ? ingest_.encode_chunk(blob, position, raw)
                             : ingest_.insert_chunk(blob, stored));
  return raw;
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
    versions.push_back({version.manifest, version.text, version.names});
  DGQ_CHECK(ingest.commit(versions, "import", {}, {}));
  return {};
}

}  // namespace

Result<BundleSummary> Registry::import_bundle(const ByteSource& source, const std::string& where,
                                              const BlobProgress& progress) {
  BundleReader reader(source, where);
  DGQ_TRY(const BundleContents contents, reader.begin());
  BundleSummary summary = summary_of(contents);
  DGQ_TRY(const std::unique_ptr<Ingest::State> ingest, state_->begin_ingest(sha256(contents.text())));
  const auto receive = [&]() -> Result<void> {
    DGQ_CHECK(pin_left_out(*ingest, contents, where));
    const std::map<Digest, std::string> names = blob_names(contents);
    std::uint64_t done = 0;
    Receiver receiver(*ingest, reader, [&](std::size_t bytes) {
      done += bytes;
      if (progress) progress(done, summary.bytes);
    });
    for (const BundleBlob& blob : contents.blobs) {
      DGQ_TRY(const bool is_new, receiver.receive(blob, names.at(blob.digest)));
      summary.new_blobs += is_new;
    }
    DGQ_CHECK(reader.finish());
    return commit(*ingest, contents);
  };
  const auto received = receive();
  if (received) return summary;
  if (summary.new_blobs == 0) return received.error();
  return Error{received.error().code, received.error().what + " (the " + std::to_string(summary.new_blobs) +
                                          " blobs that arrived are kept for the next import of it)"};
}

}  // namespace dgq
