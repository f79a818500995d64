// agent/load_model.h - a model version of a registry, mapped, planned and ready to serve.
#pragma once

#include "agent/models.h"
#include "registry/layer_cache.h"
#include "registry/registry.h"

namespace dgq::agent {

struct LoadOptions {
  int threads = 1;
  KvType kv = KvType::int8;
  std::size_t context = 0;  // 0: the model's own, but at most kDefaultContext
  std::size_t slots = 8;    // at most
  std::uint64_t kv_budget_bytes = 1'000'000'000;
  std::size_t queue = 64, prefill_rows = 16;  // EngineOptions
  std::uint64_t prefix_cache_bytes = 0;       // on top of the KV budget; 0: no prefix cache
  std::string chat_template = {};             // in place of the version's; empty: that one
};
inline constexpr std::size_t kDefaultContext = 4096;

struct LoadReport {
  std::string kernel;
  KvPlan kv;
  std::uint64_t bytes_mapped;
  std::vector<std::string> warnings;  // of the policy on signatures
  std::string no_chat = {};           // why /v1/chat/completions cannot be answered; empty: it can
};

// Errors: of Model::load, Tokenizer::parse, check_context and plan_kv.
Result<std::shared_ptr<ServedModel>> load_model(Registry& registry, LayerCache& cache,
                                                const std::string& reference, const LoadOptions& options,
                                                LoadReport& report);

}  // namespace dgq::agent
