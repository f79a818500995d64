#include "agent/load_model.h"

#include <algorithm>

#include "runtime/model.h"
#include "runtime/session.h"

namespace dgq::agent {

Result<std::shared_ptr<ServedModel>> load_model(Registry& registry, LayerCache& cache,
                                                const std::string& reference, const LoadOptions& options,
                                                LoadReport& report) {
  DGQ_TRY(const Kernels kernels, select_kernels_from_environment());
  DGQ_TRY(Model loaded, Model::load(registry, cache, reference));
  const auto model = std::make_shared<const Model>(std::move(loaded));
  DGQ_TRY(Tokenizer tokenizer, Tokenizer::parse(model->tokenizer_json(), reference + ", blob tokenizer"));
  const std::size_t usual = std::min(kDefaultContext, model->config().max_positions);
  DGQ_TRY(const std::size_t context,
          check_context(model->config(), options.context == 0 ? usual : options.context));
  DGQ_TRY(const KvPlan kv,
          plan_kv(model->config(), options.kv, context, options.slots, options.kv_budget_bytes));
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
  auto served = std::make_shared<ServedModel>(ServedModel{reference, version.digest.hex(),
                                                          version.created_unix_s, model, &model->config(),
                                                          std::move(tokenizer), std::move(engine)});
  add_formats(*served, model->chat_template(), options.chat_template);
  report.no_chat = served->no_chat;
  return served;
}

}  // namespace dgq::agent
