// runtime/model.h - a model version of a registry, mapped and ready for the decoder.
//
// Its blobs: "embedding" (tensor embed_tokens), "layers.0", ... (input_layernorm, q_proj, k_proj, v_proj, o_proj,
// post_attention_layernorm, gate_proj, up_proj, down_proj), "head" (norm and, unless tied, lm_head) and "tokenizer"
// (a tokenizer.json), and where the checkpoint had one "chat_template" (runtime/chat_template.h). Norms are f32 with n = 1; every other tensor may be f32, w4, w6 or w8.
#pragma once

#include <string_view>

#include "runtime/config.h"
#include "runtime/mapped_version.h"
#include "runtime/weights.h"

namespace dgq {

// Move-only. The weights are views into files that are mapped read-only and shared; moving keeps them valid.
class Model {
 public:
  // Materialises what is not in the cache yet, maps it, and checks every tensor: name, kind, shape, size and the
  // invariants of kernels/packed.h. Errors name version, blob and tensor. A version that the registry's policy on
  // signatures refuses (registry/trust.h) is not touched: invalid.
  static Result<Model> load(Registry& registry, LayerCache& cache, std::string_view reference);
  // The same of a version that resolve_to_use() has let pass; nothing is remembered (remember_use).
  static Result<Model> load(Registry& registry, LayerCache& cache, const Usable& usable,
                            std::string_view reference);

  const ModelConfig& config() const { return config_; }
  const ModelWeights& weights() const { return weights_; }
  std::size_t activation_block() const { return version().manifest.activation_block; }
  const VersionInfo& version() const { return mapped_.version(); }
  std::string_view tokenizer_json() const { return tokenizer_; }     // mapped as well
  std::string_view chat_template() const { return chat_template_; }  // the blob; empty: the version has none
  const std::vector<std::string>& warnings() const { return mapped_.warnings(); }
  const MappedVersion::Footprint& footprint() const { return mapped_.footprint(); }

 private:
  MappedVersion mapped_;
  ModelConfig config_{};
  ModelWeights weights_{};
  std::string_view tokenizer_, chat_template_;
};

}  // namespace dgq
