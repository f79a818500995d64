#include "registry/bundle.h"

#include <array>
#include <cstring>
#include <map>
#include <set>

namespace dgq {
namespace {

constexpr std::string_view kMagic = "DGQBUNDL";
constexpr std::uint32_t kFormat = 1;
// A manifest with its report takes about 1 KB per layer, so this is hundreds of versions.
constexpr std::uint32_t kMaxContentsBytes = 16 << 20;
constexpr std::size_t kMaxVersions = 1024, kMaxNames = 1024;

void put_u32(std::byte* to, std::uint32_t value) {
  for (int i = 0; i < 4; ++i) to[i] = static_cast<std::byte>(value >> 8 * i);
}

std::uint32_t get_u32(const std::byte* from) {
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value |= std::to_integer<std::uint32_t>(from[i]) << 8 * i;
  return value;
}

Result<Digest> parse_digest(const Json& object, const char* key, const std::string& where) {
  DGQ_TRY(const std::string hex, json_string(object, key, where));
  const auto digest = Digest::parse(hex);
  if (!digest) return Error{Errc::corrupt, where + ": \"" + key + "\": " + digest.error().what};
  return *digest;
}

Result<std::optional<Digest>> parse_digest_or_none(const Json& object, const char* key,
                                                   const std::string& where) {
  if (const auto found = object.find(key); found == object.end() || found->is_null())
    return std::optional<Digest>();
  DGQ_TRY(const Digest digest, parse_digest(object, key, where));
  return std::optional(digest);
}

// An array of min..max objects.
Result<const Json*> parse_list(const Json& object, const char* key, std::size_t min, std::size_t max,
                               const std::string& where) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_array() || found->size() < min || found->size() > max)
    return Error{Errc::corrupt, where + ": \"" + key + "\" must be an array of " + std::to_string(min) +
                                    ".." + std::to_string(max) + " entries"};
  return &*found;
}

Result<BundleVersion> parse_version(const Json& json, const std::string& where) {
  if (!json.is_object()) return Error{Errc::corrupt, where + " must be an object"};
  BundleVersion version;
  DGQ_TRY(version.text, json_string(json, "manifest", where));
  DGQ_TRY(version.manifest, Manifest::parse(version.text, where));
  version.digest = sha256(version.text);
  DGQ_TRY(const Json* names, parse_list(json, "names", 1, kMaxNames, where));
  for (const Json& name : *names) {
    if (!name.is_string()) return Error{Errc::corrupt, where + ": a name must be a string"};
    DGQ_TRY(ModelRef ref, ModelRef::parse(name.get_ref<const std::string&>()));
    version.names.push_back(std::move(ref));
  }
  if (const auto signatures = json.find("signatures"); signatures != json.end()) {
    DGQ_TRY(version.signatures, parse_signatures(*signatures, version.digest, where));
  }
  return version;
}

Result<BundleBlob> parse_blob(const Json& json, const std::string& where) {
  if (!json.is_object()) return Error{Errc::corrupt, where + " must be an object"};
  BundleBlob blob;
  DGQ_TRY(blob.digest, parse_digest(json, "digest", where));
  DGQ_TRY(const std::int64_t bytes, json_int(json, "bytes", 0, INT64_MAX, where));
  blob.bytes = static_cast<std::uint64_t>(bytes);
  DGQ_TRY(blob.base, parse_digest_or_none(json, "base", where));
  return blob;
}

Result<void> check_blobs(const BundleContents& contents, const std::string& where) {
  std::map<Digest, std::uint64_t> wanted;
  for (const BundleVersion& version : contents.versions)
    for (const BlobRef& blob : version.manifest.blobs) wanted.emplace(blob.digest, blob.bytes);
  std::set<Digest> all, plain;  // `plain`: seen so far, without a base
  for (const BundleBlob& blob : contents.blobs) all.insert(blob.digest);
  for (const BundleBlob& blob : contents.blobs) {
    const std::string name = where + ": blob " + blob.digest.short_hex();
    const auto found = wanted.find(blob.digest);
    if (found == wanted.end() || found->second != blob.bytes)
      return Error{Errc::corrupt, name + " is not in the manifests with that length"};
    wanted.erase(found);  // a second one is not in them
    if (blob.base && all.contains(*blob.base) && !plain.contains(*blob.base))
      return Error{Errc::corrupt, name + " has a base that comes later or has a base itself"};
    if (!blob.base) plain.insert(blob.digest);
  }
  return {};
}

}  // namespace

std::string BundleContents::text() const {
  Json list = Json::array(), stored = Json::array();
  for (const BundleVersion& version : versions) {
    Json names = Json::array();
    for (const ModelRef& name : version.names) names.push_back(name.text());
    list.push_back({{"names", std::move(names)}, {"manifest", version.text}});
    if (!version.signatures.empty()) list.back()["signatures"] = signatures_json(version.signatures);
  }
  for (const BundleBlob& blob : blobs)
    stored.push_back({{"digest", blob.digest.hex()},
                      {"bytes", blob.bytes},
                      {"base", blob.base ? Json(blob.base->hex()) : Json()}});
  const Json document = {{"since", since ? Json(since->hex()) : Json()},
                         {"versions", std::move(list)},
                         {"blobs", std::move(stored)}};
  return document.dump();
}

Result<BundleContents> BundleContents::parse(std::string_view text, const std::string& where) {
  DGQ_TRY(const Json document, parse_json(text, where));
  if (!document.is_object()) return Error{Errc::corrupt, where + ": the contents must be a JSON object"};
  BundleContents contents;
  DGQ_TRY(contents.since, parse_digest_or_none(document, "since", where));
  DGQ_TRY(const Json* versions, parse_list(document, "versions", 1, kMaxVersions, where));
  for (const Json& json : *versions) {
    DGQ_TRY(BundleVersion version,
            parse_version(json, where + ": version " + std::to_string(contents.versions.size())));
    contents.versions.push_back(std::move(version));
  }
  DGQ_TRY(const Json* blobs, parse_list(document, "blobs", 0, kMaxContentsBytes, where));
  for (const Json& json : *blobs) {
    DGQ_TRY(const BundleBlob blob,
            parse_blob(json, where + ": blob " + std::to_string(contents.blobs.size())));
    contents.blobs.push_back(blob);
  }
  DGQ_CHECK(check_blobs(contents, where));
  return contents;
}

BundleSummary summary_of(const BundleContents& contents) {
  BundleSummary summary;
  summary.since = contents.since;
  std::set<Digest> all;
  for (const BundleVersion& version : contents.versions) {
    summary.versions.push_back({version.digest, {}});
    for (const ModelRef& name : version.names) summary.versions.back().names.push_back(name.text());
    for (const BlobRef& blob : version.manifest.blobs) all.insert(blob.digest);
  }
  for (const BundleBlob& blob : contents.blobs) summary.bytes += blob.bytes;
  summary.blobs = contents.blobs.size();
  summary.blobs_left_out = all.size() - contents.blobs.size();
  return summary;
}

Result<void> BundleWriter::write(std::span<const std::byte> bytes) {
  hash_.update(bytes);
  return sink_(bytes);
}

Result<void> BundleWriter::begin(const BundleContents& contents) {
  const std::string text = contents.text();
  if (text.size() > kMaxContentsBytes || contents.versions.size() > kMaxVersions)
    return Error{Errc::invalid, "too many versions for one bundle: export fewer at once"};
  std::array<std::byte, 16> head;
  std::memcpy(head.data(), kMagic.data(), kMagic.size());
  put_u32(&head[8], kFormat);
  put_u32(&head[12], static_cast<std::uint32_t>(text.size()));
  DGQ_CHECK(write(head));
  return write(std::as_bytes(std::span(text)));
}

Result<void> BundleWriter::chunk(const BundleChunk& chunk) {
  std::array<std::byte, 16> head;
  put_u32(&head[0], static_cast<std::uint32_t>(chunk.codec));
  put_u32(&head[4], chunk.raw_bytes);
  put_u32(&head[8], static_cast<std::uint32_t>(chunk.data.size()));
  put_u32(&head[12], 0);
  DGQ_CHECK(write(head));
  return write(chunk.data);
}

Result<void> BundleWriter::finish() {
  const Digest digest = hash_.finish();
  return sink_(std::as_bytes(std::span(digest.bytes)));
}

Result<void> BundleReader::read(std::span<std::byte> bytes) {
  for (auto rest = bytes; !rest.empty();) {
    DGQ_TRY(const std::size_t got, source_(rest));
    if (got == 0) return corrupt("ends early: it was not copied whole, copy it again");
    rest = rest.subspan(got);
  }
  return {};
}

Result<BundleContents> BundleReader::begin() {
  std::array<std::byte, 16> head;
  DGQ_CHECK(read(head));
  if (std::memcmp(head.data(), kMagic.data(), kMagic.size()) != 0) return corrupt("not a bundle of dgq");
  if (const std::uint32_t format = get_u32(&head[8]); format != kFormat)
    return Error{Errc::unsupported,
                 where_ + ": bundle format " + std::to_string(format) + ": made by a newer dgq, upgrade"};
  const std::uint32_t size = get_u32(&head[12]);
  if (size > kMaxContentsBytes)
    return corrupt("says that its contents take " + std::to_string(size) + " bytes");
  std::string text(size, '\0');
  DGQ_CHECK(read(std::as_writable_bytes(std::span(text))));
  hash_.update(head);
  hash_.update(std::as_bytes(std::span(text)));
  return BundleContents::parse(text, where_);
}

Result<BundleChunk> BundleReader::next(std::uint64_t left) {
  std::array<std::byte, 16> head;
  DGQ_CHECK(read(head));
  const BundleCodec codec{get_u32(&head[0])};
  const std::uint32_t raw_bytes = get_u32(&head[4]), stored_bytes = get_u32(&head[8]);
  if (codec > BundleCodec::zstd_with_base)
    return Error{Errc::unsupported, where_ + ": a chunk has the unknown codec " +
                                        std::to_string(static_cast<std::uint32_t>(codec))};
  // Chunks are cut as in the registry, so that those of a blob and of its base lie side by side.
  if (raw_bytes != std::min<std::uint64_t>(left, kChunkBytes) || get_u32(&head[12]) != 0)
    return corrupt("a chunk has a wrong head");
  if (stored_bytes == 0 || stored_bytes > raw_bytes ||
      (codec == BundleCodec::raw && stored_bytes != raw_bytes))
    return corrupt("a chunk of " + std::to_string(raw_bytes) + " bytes says that it takes " +
                   std::to_string(stored_bytes));
  buffer_.resize(stored_bytes);
  DGQ_CHECK(read(buffer_));
  hash_.update(head);
  hash_.update(buffer_);
  return BundleChunk{codec, raw_bytes, buffer_};
}

Result<void> BundleReader::finish() {
  Digest said;
  DGQ_CHECK(read(std::as_writable_bytes(std::span(said.bytes))));
  if (hash_.finish() != said)
    return corrupt("does not match its digest: it changed on its way, copy it again");
  std::byte more;
  DGQ_TRY(const std::size_t got, source_(std::span(&more, 1)));
  if (got != 0) return corrupt("goes on after its end");
  return {};
}

}  // namespace dgq
