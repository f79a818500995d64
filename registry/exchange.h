// registry/exchange.h - what bundles and OCI layouts share: versions out, blobs and versions in. Internal to registry/.
#pragma once

#include <map>
#include <set>

#include "base/sha256_beside.h"
#include "registry/bundle.h"
#include "registry/state.h"

namespace dgq {

// The versions that the references name, each once, with its names. A name brings itself, a digest all names of its version.
Result<std::vector<BundleVersion>> versions_to_export(Registry& registry, sqlite::Db& db,
                                                      const std::vector<std::string>& references);

// The blobs of the versions but `left_out`, each once, without bases.
std::vector<BundleBlob> blobs_of(const std::vector<BundleVersion>& versions, std::set<Digest> left_out = {});

// Gives the chunks of a blob in order; `left` bytes are still to come. Borrowed until the next call.
using ChunkSource = std::function<Result<BundleChunk>(std::uint64_t left)>;

// Decodes the chunks of a bundle's blobs; their bases are in the registry. Call inside a transaction, and
// let it go before the next one: it keeps a row open.
class BundleChunkDecoder {
 public:
  explicit BundleChunkDecoder(sqlite::Db& db) : bases_(db) {}
  struct Decoded {
    std::span<const std::byte> raw;  // borrowed from the chunk or from this decoder until the next call
    bool base_is_based;              // its base has a base itself here, so it cannot be stored as it is
  };
  // base: id of the blob's base, where it has one. Errors go on after "chunk N".
  Result<Decoded> decode(const BundleChunk& chunk, std::int64_t position, std::optional<std::int64_t> base);

 private:
  ChunkReader bases_;
  ChunkDecoder decoder_;
};

// The versions of an OCI image layout and their blobs; versions may have no names. Links are not followed.
Result<BundleContents> read_oci_layout(const std::filesystem::path& folder);
// The raw bytes of a blob's file in the layout.
Result<ChunkSource> open_oci_blob(const std::filesystem::path& folder, const BundleBlob& blob);

// Stores blobs for an import, each in a transaction of its own that ends only when its bytes match its digest.
class Receiver {
 public:
  // where: what is imported; names: for people, by digest; progress gets bytes of blobs.
  Receiver(Ingest::State& ingest, const BundleContents& contents, std::string where, BlobProgress progress);
  // The blob is stored, unless it is there, and pinned. One that is there is hashed, and replaced if it has rotted.
  Result<void> receive(const BundleBlob& blob, const ChunkSource& source);
  std::uint64_t new_blobs() const { return new_blobs_; }

 private:
  Result<bool> is_whole(const Digest& digest);
  Result<void> store(const BundleBlob& blob, const ChunkSource& source, std::optional<std::int64_t> damaged);
  // The raw bytes, borrowed until the next call; they are hashed.
  Result<std::span<const std::byte>> store_chunk(BundleChunkDecoder& decoder, std::int64_t blob,
                                                 std::int64_t position, const BundleChunk& chunk,
                                                 std::optional<std::int64_t> base, bool plainly,
                                                 Sha256Beside& hash);
  void advance(std::uint64_t bytes);

  Ingest::State& ingest_;
  std::string where_;
  BlobProgress progress_;
  std::map<Digest, std::string> names_;
  std::uint64_t done_ = 0, total_, new_blobs_ = 0;
};

// Pins what the contents leave out, lets `fill` receive the rest, then makes all versions visible in one transaction. What was
// whole is kept for the next import of the same contents when it fails.
Result<BundleSummary> import_contents(Registry::State& registry, const BundleContents& contents,
                                      const std::string& where, const BlobProgress& progress,
                                      const std::function<Result<void>(Receiver&)>& fill);

}  // namespace dgq
