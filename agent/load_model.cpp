#include "agent/load_model.h"

#include <algorithm>

#include "runtime/model.h"
#include "runtime/session.h"

namespace dgq::agent {

Result<VersionPlan> plan_version(const VersionInfo& version, const std::string& name,
                                 const LoadOptions& options) {
  DGQ_TRY(const ModelConfig config, parse_config(version.manifest.config, name));
  const std::size_t usual = std::min(kDefaultContext, config.max_positions);
  DGQ_TRY(const std::size_t context, check_context(config, options.context == 0 ? usual : options.context));
  DGQ_TRY(const KvPlan kv, plan_kv(config, options.kv, context, options.slots, options.kv_budget_bytes));
  MemoryNeed need{0, kv.slots * kv.bytes_per_slot + options.prefix_cache_bytes,
                  scratch_bytes(config, kv, options.threads)};
  for (const BlobRef& blob : version.manifest.blobs) need.weights += blob.bytes;
  return VersionPlan{kv, need};
}

Result<std::shared_ptr<ServedModel>> load_version(Registry& registry, LayerCache& cache, const Usable& usable,
                                                  const std::string& name, const KvPlan& kv,
                                                  const LoadOptions& options, LoadReport& report) {
  DGQ_TRY(const Kernels kernels, select_kernels_from_environment());
  DGQ_TRY(Model loaded, Model::load(registry, cache, usable, name));
  const auto model = std::make_shared<const Model>(std::move(loaded));
  DGQ_TRY(Tokenizer tokenizer, Tokenizer::parse(model->tokenizer_json(), name + ", blob tokenizer"));
  report = {kernels.isa, kv, model->footprint().bytes_mapped, model->warnings()};

  const auto prefix_cache =
      options.prefix_cache_bytes == 0
          ? nullptr
          : std::make_shared<PrefixCache>(model->config(), kv.type, options.prefix_cache_bytes);
  auto engine =
      std::make_unique<Engine>(model->config(), model->weights(),
                               Decoder(model->config(), kernels, options.threads, model->activation_block()),
                               EngineOptions{kv, options.queue, options.prefill_rows, prefix_cache});
  const VersionInfo& version = model->version();
  auto served =
      std::make_shared<ServedModel>(ServedModel{name, version.digest.hex(), version.created_unix_s, model,
                                                &model->config(), std::move(tokenizer), std::move(engine)});
  add_formats(*served, model->chat_template(), options.chat_template);
  report.no_chat = served->no_chat;
  return served;
}

Result<std::shared_ptr<ServedModel>> load_model(Registry& registry, LayerCache& cache,
                                                const std::string& reference, const LoadOptions& options,
                                                std::uint64_t memory_budget_bytes, LoadReport& report) {
  DGQ_TRY(const Usable usable, resolve_to_use(registry, reference));
  DGQ_TRY(const VersionPlan plan, plan_version(usable.version, reference, options));
  if (plan.need.total() > memory_budget_bytes)
    return Error{Errc::invalid, reference + " does not fit: it needs " + to_text(plan.need) +
                                    ", the memory budget is " + megabytes(memory_budget_bytes) +
                                    " (less: --slots, --context, --prefix-cache; more: --memory-budget)"};
  DGQ_TRY(auto model, load_version(registry, cache, usable, reference, plan.kv, options, report));
  if (const auto remembered = remember_use(registry, usable); !remembered)
    report.warnings.push_back("the counter of its signature was not remembered: " + remembered.error().what);
  return model;
}

}  // namespace dgq::agent
