#include "runtime/model.h"

#include "runtime/bind.h"
#include "runtime/chat_template.h"

namespace dgq {

Result<Model> Model::load(Registry& registry, LayerCache& cache, std::string_view reference) {
  DGQ_TRY(const Usable usable, resolve_to_use(registry, reference));
  DGQ_TRY(Model model, load(registry, cache, usable, reference));
  model.mapped_.remember(registry, usable);
  return model;
}

Result<Model> Model::load(Registry& registry, LayerCache& cache, const Usable& usable,
                          std::string_view reference) {
  Model model;
  model.mapped_ = MappedVersion(usable);
  const Manifest& manifest = model.version().manifest;
  const std::string version = std::string(reference) + " (" + model.version().digest.short_hex() + ")";
  const auto where = [&](const std::string& blob) { return version + ", blob " + blob; };
  DGQ_TRY(model.config_, parse_config(manifest.config, version));
  const auto map_next = [&](const std::string& name) -> Result<std::span<const std::byte>> {
    const BlobRef* blob = manifest.find(name);
    if (!blob)
      return Error{Errc::corrupt,
                   "version " + model.version().digest.short_hex() + " has no blob \"" + name + "\""};
    return model.mapped_.map(registry, cache, *blob);
  };

  DGQ_TRY(const auto embedding, map_next("embedding"));
  DGQ_TRY(model.weights_.embedding, bind_embedding(embedding, model.config_, where("embedding")));
  for (std::size_t i = 0; i < model.config_.layers; ++i) {
    const std::string name = "layers." + std::to_string(i);
    DGQ_TRY(const auto bytes, map_next(name));
    DGQ_TRY(const LayerWeights layer, bind_layer(bytes, model.config_, where(name)));
    model.weights_.layers.push_back(layer);
  }
  DGQ_TRY(const auto head, map_next("head"));
  DGQ_CHECK(bind_head(head, model.config_, where("head"), model.weights_));
  const auto map_text = [&](const char* name) -> Result<std::string_view> {
    DGQ_TRY(const auto bytes, map_next(name));
    return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  };
  DGQ_TRY(model.tokenizer_, map_text("tokenizer"));
  if (manifest.find(kChatTemplateBlob)) {
    DGQ_TRY(model.chat_template_, map_text(kChatTemplateBlob));
  }
  return model;
}

}  // namespace dgq
