// The GGUF file of a foreign version.
#include <algorithm>

#include "quantizer/gguf_export.h"
#include "runtime/foreign.h"

namespace dgq {
namespace {

// What the file says of itself, not of the model.
constexpr std::string_view kOwnKeys[] = {"general.name", "general.quantization_version", "general.file_type"};

GgufMetadata metadata_of(const Gguf& rest, const StoredLinears& version, const std::string& name,
                         GgufWeights weights) {
  const auto called = rest.metadata.find("general.name");
  const bool has_name = called != rest.metadata.end() && called->is_string();
  GgufMetadata metadata =
      begin_carrier_metadata(version.version().digest, has_name ? called->get<std::string>() : name, weights);
  for (const GgufEntry& entry : rest.entries)
    if (std::ranges::find(kOwnKeys, entry.key) == std::end(kOwnKeys)) metadata.add(entry);
  return metadata;
}

}  // namespace

Result<void> export_gguf(const StoredLinears& version, std::span<const std::byte> rest,
                         const std::string& name, GgufWeights weights, const std::filesystem::path& path,
                         const Fraction& progress) {
  DGQ_TRY(const Gguf kept, parse_gguf(rest, name + ", blob " + kRestBlob));
  std::vector<GgufTensor> tensors;
  for (const auto& [tensor_name, tensor] : kept.tensors) tensors.push_back(same_tensor(tensor_name, tensor));
  for (const BlobRef& blob : version.version().manifest.blobs) {
    if (blob.media != "layer") continue;
    const auto& stored = version.blob(blob.digest).tensors();
    for (std::size_t i = 0; i < stored.size(); ++i) {
      const std::string tensor_name = name_of_linear({blob.name, stored[i].name});
      if (kept.tensors.contains(tensor_name))
        return Error{Errc::corrupt, name + ": tensor " + tensor_name + " is stored twice"};
      const Carrier carrier{role_of_tensor(i), 0, version.version().digest, blob.digest};
      DGQ_TRY(const CarriedLinear found, version.find(carrier, name + ", blob " + blob.name));
      tensors.push_back(carried_tensor(tensor_name, found.linear, carrier, weights));
    }
  }
  return write_gguf(path, metadata_of(kept, version, name, weights), tensors, progress);
}

}  // namespace dgq
