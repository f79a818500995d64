#include "registry/oci.h"

namespace dgq {
namespace {

constexpr const char* kIndexType = "application/vnd.oci.image.index.v1+json";
constexpr const char* kManifestType = "application/vnd.oci.image.manifest.v1+json";
constexpr const char* kConfigType = "application/vnd.dgq.manifest.v1+json";
constexpr const char* kBlobType = "application/vnd.dgq.blob.v1";
constexpr const char* kTitle = "org.opencontainers.image.title";       // a blob's name
constexpr const char* kRefName = "org.opencontainers.image.ref.name";  // what skopeo selects an image by
constexpr const char* kNames = "vnd.dgq.names";                        // of the version, with spaces between
constexpr const char* kSignatures = "vnd.dgq.signatures";              // JSON, as in a bundle
constexpr std::string_view kAlgorithm = "sha256:";
constexpr std::size_t kMaxDescriptors = 4096;

Json descriptor_json(const char* type, const OciDescriptor& descriptor, const char* annotation) {
  Json json = {{"mediaType", type},
               {"digest", std::string(kAlgorithm) + descriptor.digest.hex()},
               {"size", descriptor.bytes}};
  if (!descriptor.name.empty()) json["annotations"] = {{annotation, descriptor.name}};
  return json;
}

// A string member of "annotations"; empty when there is none.
Result<std::string> annotation_of(const Json& object, const char* key, const std::string& where) {
  const auto annotations = object.find("annotations");
  if (annotations == object.end() || !annotations->is_object()) return std::string();
  return json_string_or(*annotations, key, "", where);
}

Result<OciDescriptor> parse_descriptor(const Json& json, const char* type, const char* annotation,
                                       const std::string& where) {
  if (!json.is_object()) return Error{Errc::corrupt, where + " must be a descriptor"};
  DGQ_TRY(const std::string found, json_string(json, "mediaType", where));
  if (found != type)
    return Error{Errc::unsupported, where + " has the media type " + found.substr(0, 100) + ", not " + type};
  OciDescriptor descriptor;
  DGQ_TRY(const std::string digest, json_string(json, "digest", where));
  const auto parsed =
      Digest::parse(std::string_view(digest).substr(std::min(kAlgorithm.size(), digest.size())));
  // One spelling only: it becomes a file name.
  if (!parsed || digest != std::string(kAlgorithm) + parsed->hex())
    return Error{Errc::corrupt, where + ": a digest must be sha256: and 64 lower-case hex digits"};
  descriptor.digest = *parsed;
  DGQ_TRY(const std::int64_t size, json_int(json, "size", 0, INT64_MAX, where));
  descriptor.bytes = static_cast<std::uint64_t>(size);
  DGQ_TRY(descriptor.name, annotation_of(json, annotation, where));
  return descriptor;
}

Result<std::vector<OciDescriptor>> parse_descriptors(const Json& document, const char* key, const char* type,
                                                     const char* annotation, const std::string& where) {
  const auto list = document.find(key);
  if (list == document.end() || !list->is_array() || list->empty() || list->size() > kMaxDescriptors)
    return Error{Errc::corrupt, where + ": \"" + key + "\" must be an array of 1.." +
                                    std::to_string(kMaxDescriptors) + " descriptors"};
  std::vector<OciDescriptor> descriptors;
  for (const Json& json : *list) {
    DGQ_TRY(OciDescriptor descriptor,
            parse_descriptor(json, type, annotation,
                             where + ": " + key + " " + std::to_string(descriptors.size())));
    descriptors.push_back(std::move(descriptor));
  }
  return descriptors;
}

// An OCI document: an object of schema 2.
Result<Json> parse_document(std::string_view text, const std::string& where) {
  DGQ_TRY(Json document, parse_json(text, where));
  if (!document.is_object()) return Error{Errc::corrupt, where + " must be a JSON object"};
  DGQ_CHECK(json_int(document, "schemaVersion", 2, 2, where));
  return document;
}

}  // namespace

std::string OciManifest::text() const {
  Json list = Json::array();
  for (const OciDescriptor& layer : layers) list.push_back(descriptor_json(kBlobType, layer, kTitle));
  Json document = {{"schemaVersion", 2},
                   {"mediaType", kManifestType},
                   {"config", descriptor_json(kConfigType, config, kTitle)},
                   {"layers", std::move(list)}};
  std::string all;
  for (const ModelRef& name : names) all += (all.empty() ? "" : " ") + name.text();
  if (!all.empty()) document["annotations"][kNames] = all;
  if (!signatures.empty()) document["annotations"][kSignatures] = signatures_json(signatures).dump();
  return document.dump();
}

Result<OciManifest> OciManifest::parse(std::string_view text, const std::string& where) {
  DGQ_TRY(const Json document, parse_document(text, where));
  OciManifest manifest;
  const auto config = document.find("config");
  if (config == document.end()) return Error{Errc::corrupt, where + ": \"config\" is missing"};
  DGQ_TRY(manifest.config, parse_descriptor(*config, kConfigType, kTitle, where + ": config"));
  DGQ_TRY(manifest.layers, parse_descriptors(document, "layers", kBlobType, kTitle, where));
  DGQ_TRY(const std::string names, annotation_of(document, kNames, where));
  for (std::string_view rest = names; !rest.empty();) {
    const std::size_t end = std::min(rest.find(' '), rest.size());
    DGQ_TRY(ModelRef name, ModelRef::parse(rest.substr(0, end)));
    manifest.names.push_back(std::move(name));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  DGQ_TRY(const std::string signatures, annotation_of(document, kSignatures, where));
  if (!signatures.empty()) {
    DGQ_TRY(const Json list, parse_json(signatures, where + ": " + kSignatures));
    DGQ_TRY(manifest.signatures, parse_signatures(list, manifest.config.digest, where));
  }
  return manifest;
}

std::string oci_index_text(const std::vector<OciDescriptor>& manifests) {
  Json list = Json::array();
  for (const OciDescriptor& manifest : manifests)
    list.push_back(descriptor_json(kManifestType, manifest, kRefName));
  return Json{{"schemaVersion", 2}, {"mediaType", kIndexType}, {"manifests", std::move(list)}}.dump();
}

Result<std::vector<OciDescriptor>> parse_oci_index(std::string_view text, const std::string& where) {
  DGQ_TRY(const Json document, parse_document(text, where));
  return parse_descriptors(document, "manifests", kManifestType, kRefName, where);
}

Result<void> check_oci_layout(std::string_view text, const std::string& where) {
  DGQ_TRY(const Json document, parse_json(text, where));
  if (!document.is_object()) return Error{Errc::corrupt, where + " must be a JSON object"};
  DGQ_TRY(const std::string version, json_string(document, "imageLayoutVersion", where));
  if (version != "1.0.0")
    return Error{Errc::unsupported, where + ": layout version " + version.substr(0, 20) + ", not 1.0.0"};
  return {};
}

}  // namespace dgq
