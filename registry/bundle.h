// registry/bundle.h - the bytes of a .dgqb file: versions with their blobs, to be written to and read from a pipe
// (docs/REGISTRY.md). Knows nothing of the registry: Registry::export_bundle and import_bundle use it.
#pragma once

#include <optional>

#include "base/file.h"
#include "registry/chunk.h"
#include "registry/registry.h"
#include "registry/signature.h"

namespace dgq {

struct BundleVersion {
  std::string text;  // the manifest as stored; its SHA-256 is `digest`
  Manifest manifest;
  Digest digest;
  std::vector<ModelRef> names;  // at least one
  std::vector<Signature> signatures = {};
};

struct BundleBlob {
  Digest digest;
  std::uint64_t bytes;         // raw
  std::optional<Digest> base;  // chunks may need its chunk at the same position as prefix
};

// What a bundle says about itself at its start.
struct BundleContents {
  std::optional<Digest> since;  // blobs of this version were left out
  std::vector<BundleVersion> versions;
  std::vector<BundleBlob> blobs;  // in the order in which their chunks follow

  std::string text() const;
  // Checked: versions, names and manifests as everywhere; each blob is in a manifest, once, with its length; a base is
  // an earlier blob that has none, or is not in the bundle.
  static Result<BundleContents> parse(std::string_view text, const std::string& where);
};

// Of a chunk in a bundle: ChunkCodec, and one more.
enum class BundleCodec : std::uint32_t { raw = 0, zstd = 1, zstd_with_base = 2 };

struct BundleChunk {
  BundleCodec codec;
  std::uint32_t raw_bytes;
  std::span<const std::byte> data;  // as stored in the registry; borrowed
};

// begin(), then the chunks of every blob in order, then finish().
class BundleWriter {
 public:
  explicit BundleWriter(ByteSink sink) : sink_(std::move(sink)) {}
  Result<void> begin(const BundleContents& contents);
  Result<void> chunk(const BundleChunk& chunk);
  Result<void> finish();

 private:
  Result<void> write(std::span<const std::byte> bytes);
  ByteSink sink_;
  Sha256 hash_;
};

// begin(), then next() until the blob's bytes are there, for every blob in order, then finish(). Memory: the contents
// and one chunk, within the format's limits whatever the bytes say. Errors (corrupt, unsupported, and the source's)
// start with `where`.
class BundleReader {
 public:
  BundleReader(ByteSource source, std::string where) : source_(std::move(source)), where_(std::move(where)) {}
  Result<BundleContents> begin();
  // The next chunk of a blob of which `left` > 0 raw bytes are still to come; borrowed until the next call.
  Result<BundleChunk> next(std::uint64_t left);
  Result<void> finish();  // the digest of the whole, and nothing behind it
  const std::string& where() const { return where_; }

 private:
  Result<void> read(std::span<std::byte> bytes);
  Error corrupt(const std::string& what) const { return {Errc::corrupt, where_ + ": " + what}; }
  ByteSource source_;
  std::string where_;
  Sha256 hash_;
  std::vector<std::byte> buffer_;
};

BundleSummary summary_of(const BundleContents& contents);

}  // namespace dgq
