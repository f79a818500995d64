// registry/oci.h - the documents of an OCI image layout that holds versions (docs/REGISTRY.md): index.json and image manifests.
// Knows neither files nor the registry.
//
//   manifest.config   the version's manifest, so that its digest is the version's
//   manifest.layers   one per blob, its raw bytes, so that its digest is the blob's
#pragma once

#include "registry/manifest.h"
#include "registry/signature.h"

namespace dgq {

inline constexpr std::string_view kOciLayoutText = R"({"imageLayoutVersion":"1.0.0"})";
inline constexpr std::size_t kMaxOciDocument = 16 << 20;  // bytes of a JSON document

struct OciDescriptor {
  Digest digest;
  std::uint64_t bytes;
  std::string name;  // of the blob or of the version, for people; may be empty
};

struct OciManifest {
  OciDescriptor config;
  std::vector<OciDescriptor> layers;
  std::vector<ModelRef> names;  // that the version had where it was exported; may be empty
  std::vector<Signature> signatures = {};

  std::string text() const;
  // unsupported: well-formed, but not an image of ours.
  static Result<OciManifest> parse(std::string_view text, const std::string& where);
};

std::string oci_index_text(const std::vector<OciDescriptor>& manifests);
// The image manifests of an index.json, at least one.
Result<std::vector<OciDescriptor>> parse_oci_index(std::string_view text, const std::string& where);
Result<void> check_oci_layout(std::string_view text, const std::string& where);  // the file oci-layout

}  // namespace dgq
