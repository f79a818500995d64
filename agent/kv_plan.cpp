#include "agent/kv_plan.h"

#include <algorithm>
#include <string>

namespace dgq::agent {

Result<KvPlan> plan_kv(const ModelConfig& config, KvType type, std::size_t context, std::size_t most_slots,
                       std::uint64_t budget_bytes) {
  const std::size_t bytes = KvCache(config, context, type).bytes();  // reserves addresses, touches no memory
  const std::uint64_t slots = std::min<std::uint64_t>(most_slots, budget_bytes / bytes);
  if (slots > 0) return KvPlan{static_cast<std::size_t>(slots), context, bytes, type};
  return Error{Errc::invalid, "one sequence of " + std::to_string(context) + " tokens needs " +
                                  std::to_string(bytes) + " bytes of KV cache, the budget is " +
                                  std::to_string(budget_bytes) +
                                  ": a shorter context or a larger budget is needed"};
}

}  // namespace dgq::agent
