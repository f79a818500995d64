#include "runtime/stored_linears.h"

#include "runtime/bind.h"
#include "runtime/foreign.h"

namespace dgq {
namespace {

constexpr int kNoScale = -1;

// Of our own families, in the order of LinearRole: the tensor in its blob, and which of the layer's inputs it reads.
struct Named {
  const char* tensor;
  int input;
};
constexpr Named kNamed[kLinearRoles] = {{"embed_tokens", kNoScale},
                                        {"lm_head", kNoScale},
                                        {"q_proj", 0},
                                        {"k_proj", 0},
                                        {"v_proj", 0},
                                        {"o_proj", 1},
                                        {"gate_proj", 2},
                                        {"up_proj", 2},
                                        {"down_proj", 3}};

}  // namespace

Result<StoredLinears> StoredLinears::load(Registry& registry, LayerCache& cache, std::string_view reference) {
  DGQ_TRY(const Usable usable, resolve_to_use(registry, reference));
  StoredLinears linears;
  linears.mapped_ = MappedVersion(usable);
  const std::string version = std::string(reference) + " (" + usable.version.digest.short_hex() + ")";
  for (const BlobRef& blob : usable.version.manifest.blobs) {
    if (blob.media != "layer" || linears.blobs_.contains(blob.digest)) continue;
    DGQ_TRY(const auto bytes, linears.mapped_.map(registry, cache, blob));
    DGQ_TRY(LayerBlob parsed, LayerBlob::parse(bytes, version + ", blob " + blob.name));
    linears.blobs_.emplace(blob.digest, std::move(parsed));
  }
  linears.mapped_.remember(registry, usable);
  return linears;
}

Result<CarriedLinear> StoredLinears::find(const Carrier& carrier, const std::string& where) const {
  const auto lacks = [&](const std::string& what) {
    return Error{Errc::corrupt, where + ": version " + carrier.version.short_hex() + " has no " + what + " " +
                                    carrier.blob.short_hex() + "; export the file again"};
  };
  const auto found = blobs_.find(carrier.blob);
  if (found == blobs_.end()) return lacks("layer blob");
  const LayerBlob& blob = found->second;
  const auto role = static_cast<std::size_t>(carrier.role);
  if (const auto index = tensor_index(carrier.role)) {
    if (*index >= blob.tensors().size()) return lacks("such linear in layer blob");
    DGQ_TRY(const Linear linear, bind_linear(blob.tensors()[*index], where));
    return CarriedLinear{linear, 0};
  }
  const Tensor* tensor = blob.find(kNamed[role].tensor);
  if (!tensor) return lacks("such linear in layer blob");
  DGQ_TRY(const Linear linear, bind_linear(*tensor, where));
  if (kNamed[role].input == kNoScale) return CarriedLinear{linear, 0};
  DGQ_TRY(const InputScales scales, bind_input_scales(blob, where));
  return CarriedLinear{linear, scales[static_cast<std::size_t>(kNamed[role].input)]};
}

bool StoredLinears::holds(std::string_view gguf_name) const {
  const Manifest& manifest = version().manifest;
  if (!is_foreign(manifest.config)) return true;
  const auto place = place_of_linear(gguf_name);
  const BlobRef* blob = place ? manifest.find(place->blob) : nullptr;
  return blob && blob->media == "layer" && blobs_.find(blob->digest)->second.find(place->tensor);
}

}  // namespace dgq
