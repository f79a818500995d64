// agent/load_model.h - a model version of a registry: what it takes, and it, mapped and ready to serve.
#pragma once

#include "agent/memory_plan.h"
#include "agent/models.h"
#include "registry/layer_cache.h"
#include "registry/registry.h"
#include "registry/trust.h"

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

// Known from the manifest alone. Errors: of parse_config, check_context and plan_kv; `name` is in them.
struct VersionPlan {
  KvPlan kv;
  MemoryNeed need;
};
Result<VersionPlan> plan_version(const VersionInfo& version, const std::string& name,
                                 const LoadOptions& options);

struct LoadReport {
  std::string kernel;
  KvPlan kv;
  std::uint64_t bytes_mapped;
  std::vector<std::string> warnings;  // of the policy on signatures
  std::string no_chat = {};           // why /v1/chat/completions cannot be answered; empty: it can
};

// The only model of a process, which may take so many bytes of memory. Errors: of Model::load, Tokenizer::parse, check_context
// and plan_kv; invalid: it does not fit.
Result<std::shared_ptr<ServedModel>> load_model(Registry& registry, LayerCache& cache,
                                                const std::string& reference, const LoadOptions& options,
                                                std::uint64_t memory_budget_bytes, LoadReport& report);
// The same of a version that resolve_to_use() has let pass, as it was planned; served as `name`. Nothing is remembered
// (remember_use).
Result<std::shared_ptr<ServedModel>> load_version(Registry& registry, LayerCache& cache, const Usable& usable,
                                                  const std::string& name, const KvPlan& kv,
                                                  const LoadOptions& options, LoadReport& report);

}  // namespace dgq::agent
