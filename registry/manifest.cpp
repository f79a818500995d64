#include "registry/manifest.h"

#include <algorithm>
#include <set>

namespace dgq {
namespace {

constexpr std::int64_t kFormat = 1;
constexpr std::size_t kMaxBlobs = 4096, kMaxBlobName = 128;
constexpr std::int64_t kMaxBlobBytes = std::int64_t{1} << 40;

bool name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
         c == '-';
}

bool valid_tag(std::string_view tag) {
  return !tag.empty() && tag.size() <= 128 && std::all_of(tag.begin(), tag.end(), name_character);
}

bool valid_model(std::string_view model) {
  if (model.empty() || model.size() > 128 || model.front() == '.' || model.front() == '-') return false;
  while (true) {  // part by part
    const std::size_t slash = model.find('/');
    const std::string_view part = model.substr(0, slash);
    if (part.find_first_not_of('.') == part.npos || !std::all_of(part.begin(), part.end(), name_character))
      return false;
    if (slash == model.npos) return true;
    model.remove_prefix(slash + 1);
  }
}

bool printable(std::string_view text) {
  return !text.empty() && text.size() <= kMaxBlobName &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~'; });
}

Result<BlobRef> parse_blob(const Json& json, const std::string& where) {
  if (!json.is_object()) return Error{Errc::corrupt, where + " must be an object"};
  BlobRef blob;
  DGQ_TRY(blob.name, json_string(json, "name", where));
  DGQ_TRY(blob.media, json_string(json, "media", where));
  if (!printable(blob.name) || !printable(blob.media))
    return Error{Errc::corrupt, where + ": \"name\" and \"media\" must be 1.." +
                                    std::to_string(kMaxBlobName) + " printable ASCII characters"};
  DGQ_TRY(const std::string digest, json_string(json, "digest", where));
  const Result<Digest> parsed = Digest::parse(digest);
  if (!parsed) return Error{Errc::corrupt, where + ": " + parsed.error().what};
  blob.digest = *parsed;
  DGQ_TRY(const std::int64_t bytes, json_int(json, "bytes", 0, kMaxBlobBytes, where));
  blob.bytes = static_cast<std::uint64_t>(bytes);
  return blob;
}

// A member that is kept as it is: an object, or null when missing.
Result<Json> parse_kept(const Json& document, const char* key, std::string_view where) {
  const auto found = document.find(key);
  if (found == document.end() || found->is_null()) return Json();
  if (!found->is_object())
    return Error{Errc::corrupt, std::string(where) + ": \"" + key + "\" must be an object"};
  return *found;
}

}  // namespace

Result<ModelRef> ModelRef::parse(std::string_view text) {
  ModelRef ref;
  const std::size_t colon = text.find(':');
  ref.model = text.substr(0, colon);
  if (colon != text.npos) ref.tag = text.substr(colon + 1);
  if (!valid_model(ref.model) || !valid_tag(ref.tag))
    return Error{Errc::invalid,
                 "'" + std::string(text.substr(0, 300)) +
                     "' is not a model name: MODEL[:TAG], of letters, digits and . _ -, with / between "
                     "parts of MODEL"};
  return ref;
}

std::string Manifest::canonical() const {
  Json list = Json::array();
  for (const BlobRef& blob : blobs)
    list.push_back(
        {{"name", blob.name}, {"media", blob.media}, {"digest", blob.digest.hex()}, {"bytes", blob.bytes}});
  const Json document = {
      {"format", kFormat},        {"config", config}, {"activation_block", activation_block},
      {"blobs", std::move(list)}, {"recipe", recipe}, {"provenance", provenance},
      {"report", report}};
  // File names in provenance may be any bytes; they become U+FFFD here instead of an exception.
  return document.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<Manifest> Manifest::parse(std::string_view text, std::string_view where) {
  DGQ_TRY(const Json document, parse_json(text, where));
  const auto corrupt = [&](const std::string& what) {
    return Error{Errc::corrupt, std::string(where) + ": " + what};
  };
  if (!document.is_object()) return corrupt("a manifest must be a JSON object");
  DGQ_TRY(const std::int64_t format, json_int(document, "format", 1, INT64_MAX, where));
  if (format != kFormat)
    return Error{Errc::unsupported, std::string(where) + ": manifest format " + std::to_string(format) +
                                        ": made by a newer dgq, upgrade"};

  Manifest manifest;
  DGQ_TRY(manifest.config, parse_kept(document, "config", where));
  if (manifest.config.is_null()) return corrupt("\"config\" is missing");
  DGQ_TRY(const std::int64_t block, json_int(document, "activation_block", 0, 128, where));
  if (block != 0 && block != 128)
    return corrupt("\"activation_block\" must be 0 or 128, not " + std::to_string(block));
  manifest.activation_block = static_cast<std::size_t>(block);
  DGQ_TRY(manifest.recipe, parse_kept(document, "recipe", where));
  DGQ_TRY(manifest.provenance, parse_kept(document, "provenance", where));
  DGQ_TRY(manifest.report, parse_kept(document, "report", where));

  const auto list = document.find("blobs");
  if (list == document.end() || !list->is_array() || list->empty() || list->size() > kMaxBlobs)
    return corrupt("\"blobs\" must be an array of 1.." + std::to_string(kMaxBlobs) + " blobs");
  std::set<std::string> names;
  for (std::size_t i = 0; i < list->size(); ++i) {
    DGQ_TRY(BlobRef blob, parse_blob((*list)[i], std::string(where) + ": blob " + std::to_string(i)));
    if (!names.insert(blob.name).second) return corrupt("two blobs named " + blob.name);
    manifest.blobs.push_back(std::move(blob));
  }
  return manifest;
}

const BlobRef* Manifest::find(std::string_view name) const {
  for (const BlobRef& blob : blobs)
    if (blob.name == name) return &blob;
  return nullptr;
}

}  // namespace dgq
