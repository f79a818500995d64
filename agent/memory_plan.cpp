#include "agent/memory_plan.h"

#include <algorithm>
#include <cstdio>

#include "base/machine_memory.h"
#include "runtime/attention.h"

namespace dgq::agent {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLargestStepRows = 256;  // of a prompt (engine.cpp)
constexpr std::uint64_t kPerThread = 1 << 18;  // rows and pieces of gate and up

}  // namespace

std::string megabytes(std::uint64_t bytes) {
  char text[40];
  std::snprintf(text, sizeof text, "%.1f MB", static_cast<double>(bytes) / 1e6);
  return text;
}

std::string to_text(const MemoryNeed& need) {
  return megabytes(need.total()) + " (weights " + megabytes(need.weights) + ", KV cache " +
         megabytes(need.kv) + ", scratch " + megabytes(need.scratch) + ")";
}

std::uint64_t scratch_bytes(const ModelConfig& config, const KvPlan& kv, int threads) {
  const std::uint64_t rows = kLargestStepRows + kv.slots, q_width = config.heads * config.head_dim,
                      kv_width = config.kv_heads * config.head_dim;
  // hidden, norm, out and wanted; q and mixed; k and v; gate and up; and int8 copies of the widest inputs with their sums.
  const std::uint64_t floats = 4 * config.hidden + 2 * q_width + 2 * kv_width + 2 * config.ffn;
  const std::uint64_t quantized = 2 * (std::max<std::uint64_t>(config.hidden, q_width) + config.ffn);
  const std::uint64_t group = config.heads / config.kv_heads,
                      queries = attention_rows(group, kv.context) * group;
  const std::uint64_t attention = queries * (6 * kv.context + 16 * config.head_dim);
  const std::uint64_t rope = kv.context * config.head_dim * sizeof(float),
                      logits = (kv.slots + 1) * config.vocab * sizeof(float);
  return rows * (floats * sizeof(float) + quantized) +
         static_cast<std::uint64_t>(threads) * (attention + kPerThread) + rope + logits;
}

std::uint64_t default_memory_budget(std::uint64_t machine_bytes, const fs::path& root) {
  const auto limit = cgroup_memory_limit(root);
  return limit && *limit < machine_bytes ? *limit : machine_bytes / 10 * 7;
}

}  // namespace dgq::agent
