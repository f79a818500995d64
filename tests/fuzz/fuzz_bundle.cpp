// Bytes as a bundle (changed_file.h), with the digest at its end made right, since no fuzzer finds that. It is read as an import
// does: every chunk stays within its limits and decodes to the bytes it says or gives an Error, and the contents are
// a fixed point.
#include <cstdlib>
#include <cstring>
#include <map>

#include "registry/bundle.h"
#include "tests/fuzz/changed_file.h"

namespace {

using dgq::BundleChunk;
using dgq::BundleCodec;
using dgq::Result;

std::vector<std::byte> weights(std::size_t size, unsigned step) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * i / 7 % 16 + i / step % 3);
  return bytes;
}

// Two versions; three blobs: zstd, zstd with the first as its base, raw. Without the digest at its end.
std::string good_file() {
  const auto first = weights(3000, 100), second = weights(3000, 101), third = weights(50, 1);
  dgq::BundleContents contents;
  for (const char* name : {"demo:one", "team/demo:two"}) {
    dgq::BundleVersion version;
    version.manifest.config = {{"hidden_size", 64}};
    version.names = {*dgq::ModelRef::parse(name)};
    version.manifest.blobs = {
        {"layers.0", "layer", dgq::sha256(contents.versions.empty() ? first : second), 3000},
        {"tokenizer", "tokenizer.json", dgq::sha256(third), 50}};
    version.text = version.manifest.canonical();
    const dgq::Claim claim{dgq::sha256(version.text), "demo", 1, 0, {}, "0123456789abcdef"};
    if (contents.versions.empty()) version.signatures = {{claim, {}}};
    contents.versions.push_back(std::move(version));
  }
  contents.blobs = {{dgq::sha256(first), 3000, {}},
                    {dgq::sha256(third), 50, {}},
                    {dgq::sha256(second), 3000, dgq::sha256(first)}};
  std::string file;
  dgq::BundleWriter writer([&](std::span<const std::byte> bytes) -> Result<void> {
    file.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return {};
  });
  dgq::ChunkEncoder encoder;
  if (!writer.begin(contents) || !writer.chunk({BundleCodec::zstd, 3000, encoder.encode(first).stored}) ||
      !writer.chunk({BundleCodec::raw, 50, third}) ||
      !writer.chunk({BundleCodec::zstd_with_base, 3000, encoder.encode_against(first, second, 3000)}))
    std::abort();
  return file;
}

Result<void> read(dgq::BundleReader& reader) {
  DGQ_TRY(const dgq::BundleContents contents, reader.begin());
  if (dgq::BundleContents::parse(contents.text(), "again")->text() != contents.text()) std::abort();
  dgq::ChunkDecoder decoder;
  std::map<dgq::Digest, std::vector<std::byte>> first_chunks;
  for (const dgq::BundleBlob& blob : contents.blobs) {
    const auto base = blob.base ? first_chunks[*blob.base] : std::vector<std::byte>();
    for (std::uint64_t left = blob.bytes; left > 0;) {
      DGQ_TRY(const BundleChunk chunk, reader.next(left));
      if (chunk.raw_bytes == 0 || chunk.raw_bytes > left || chunk.data.size() > dgq::kChunkBytes)
        std::abort();
      const auto raw =
          decoder.decode(chunk.codec != BundleCodec::raw, chunk.raw_bytes, chunk.data,
                         chunk.codec == BundleCodec::zstd_with_base ? base : std::span<const std::byte>());
      if (raw && raw->size() != chunk.raw_bytes) std::abort();
      if (raw && left == blob.bytes) first_chunks[blob.digest].assign(raw->begin(), raw->end());
      left -= chunk.raw_bytes;
    }
  }
  return reader.finish();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::string good = good_file();
  std::string file = dgq::test::changed_file(good, data, size);
  const dgq::Digest digest = dgq::sha256(file);
  file.append(reinterpret_cast<const char*>(digest.bytes.data()), digest.bytes.size());
  dgq::BundleReader reader(
      [rest = std::string_view(file)](std::span<std::byte> into) mutable -> Result<std::size_t> {
        const std::size_t got = std::min(into.size(), rest.size());
        std::memcpy(into.data(), rest.data(), got);
        rest.remove_prefix(got);
        return got;
      },
      "fuzz");
  const auto done = read(reader);
  if (!done && file.compare(0, good.size(), good) == 0 && file.size() == good.size() + 32) std::abort();
  return 0;
}
