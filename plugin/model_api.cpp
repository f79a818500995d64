// plugin/model_api.cpp - dgq.h: models, their memory, their tokenizer.
#include <algorithm>

#include "plugin/objects.h"
#include "registry/trust.h"
#include "runtime/parallel.h"

using namespace dgq;
using namespace dgq::plugin;

namespace {

std::vector<NamedLinear> name_linears(const Model& model) {
  const ModelWeights& weights = model.weights();
  std::vector<NamedLinear> linears = {{"embed_tokens", &weights.embedding, 0}};
  for (std::size_t i = 0; i < weights.layers.size(); ++i) {
    const LayerWeights& layer = weights.layers[i];
    const std::string prefix = "layers." + std::to_string(i) + ".";
    const auto add = [&](const char* name, const Linear& linear, std::size_t input) {
      linears.push_back({prefix + name, &linear, layer.input_scale[input]});
    };
    add("q_proj", layer.q, 0), add("k_proj", layer.k, 0), add("v_proj", layer.v, 0);
    add("o_proj", layer.o, 1);
    add("gate_proj", layer.gate, 2), add("up_proj", layer.up, 2);
    add("down_proj", layer.down, 3);
  }
  linears.push_back({"lm_head", &weights.head, 0});
  return linears;
}

int threads_of(const dgq_model_options& options) {
  if (options.threads < 0 || options.threads > kMaxThreads)
    refuse(DGQ_INVALID, "options->threads must be from 0 to " + std::to_string(kMaxThreads));
  return options.threads == 0 ? physical_cores() : options.threads;
}

}  // namespace

dgq_status dgq_model_open(dgq_registry* registry, const char* reference, const dgq_model_options* options,
                          dgq_model** model) {
  return call([&] {
    const auto from = object_of(registries(), registry);
    not_null(reference, "reference"), not_null(model, "model");
    const dgq_model_options wanted = options ? *sized(options, "options") : dgq_model_options{};
    const int threads = threads_of(wanted);
    Kernels kernels = value_of(wanted.isa ? select_kernels(wanted.isa) : select_kernels_from_environment());
    const std::lock_guard lock(from->mutex);
    LayerCache cache(wanted.layer_folder ? std::filesystem::path(wanted.layer_folder)
                                         : LayerCache::default_folder(from->registry.path()));
    Model loaded = value_of(Model::load(from->registry, cache, reference));
    Tokenizer tokenizer =
        value_of(Tokenizer::parse(loaded.tokenizer_json(), std::string(reference) + ", blob tokenizer"));
    const std::shared_ptr<ModelObject> object(
        new ModelObject{std::move(loaded), std::move(tokenizer), std::move(kernels), threads, {}});
    object->linears = name_linears(object->model);
    *model = models().add(object);
  });
}

dgq_status dgq_model_close(dgq_model* model) { return close(models(), model); }

dgq_status dgq_model_get_info(dgq_model* model, dgq_model_info* info) {
  return call([&] {
    const auto object = object_of(models(), model);
    sized(info, "info");
    const ModelConfig& config = object->model.config();
    std::snprintf(info->version, sizeof(info->version), "%s", object->model.version().digest.hex().c_str());
    info->vocabulary = config.vocab;
    info->hidden = config.hidden;
    info->layers = config.layers;
    info->max_context = config.max_positions;
    info->bos = config.bos;
    info->eos = config.eos.empty() ? -1 : config.eos.front();
    info->mapped_bytes = object->model.footprint().bytes_mapped;
    info->threads = object->threads;
  });
}

dgq_status dgq_plan_memory(dgq_registry* registry, const char* reference, size_t context, size_t sessions,
                           dgq_memory_plan* plan) {
  return call([&] {
    const auto from = object_of(registries(), registry);
    not_null(reference, "reference"), sized(plan, "plan");
    const std::lock_guard lock(from->mutex);
    const VersionInfo version = value_of(from->registry.resolve(reference));
    const ModelConfig config = value_of(parse_config(version.manifest.config, reference));
    std::uint64_t mapped = 0;
    for (const BlobRef& blob : version.manifest.blobs) mapped += blob.bytes;
    const std::uint64_t kv = KvCache(config, value_of(check_context(config, context)), KvType::int8)
                                 .bytes();  // reserves, touches nothing
    if (sessions > (UINT64_MAX - mapped) / std::max<std::uint64_t>(kv, 1))
      refuse(DGQ_INVALID, "so many sessions need more memory than can be counted");
    plan->mapped_bytes = mapped;
    plan->kv_bytes = kv;
    plan->total_bytes = mapped + sessions * kv;
  });
}

dgq_status dgq_tokenize(dgq_model* model, const char* text, size_t length, int add_special, int32_t* tokens,
                        size_t capacity, size_t* count) {
  return call([&] {
    const auto object = object_of(models(), model);
    const auto bytes = input(text, length, "text");
    const std::vector<std::int32_t> ids =
        value_of(object->tokenizer.encode(std::string_view(bytes.data(), bytes.size()), add_special != 0));
    give(std::span(ids), tokens, capacity, count);
  });
}

dgq_status dgq_detokenize(dgq_model* model, const int32_t* tokens, size_t count, char* text, size_t capacity,
                          size_t* length) {
  return call([&] {
    const auto object = object_of(models(), model);
    give_text(value_of(object->tokenizer.decode(input(tokens, count, "tokens"), true)), text, capacity,
              length);
  });
}
