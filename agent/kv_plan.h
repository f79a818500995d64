// agent/kv_plan.h - how many sequences run at once: decided from a budget before any memory is used.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/result.h"
#include "runtime/kv_cache.h"

namespace dgq::agent {

struct KvPlan {
  std::size_t slots;           // sequences at once
  std::size_t context;         // positions of each
  std::size_t bytes_per_slot;  // when full
  KvType type;
};

// As many slots of `context` positions as the budget holds, at most `most_slots` (>= 1). context is of
// check_context(). invalid: not even one fits; names the sums.
Result<KvPlan> plan_kv(const ModelConfig& config, KvType type, std::size_t context, std::size_t most_slots,
                       std::uint64_t budget_bytes);

}  // namespace dgq::agent
