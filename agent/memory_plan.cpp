#include "agent/memory_plan.h"

#include <sys/sysinfo.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>
#include <sstream>

#include "runtime/attention.h"

namespace dgq::agent {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLargestStepRows = 256;  // of a prompt (engine.cpp)
constexpr std::uint64_t kPerThread = 1 << 18;  // rows and pieces of gate and up

// Of files that the kernel makes up as they are read, and whose size it does not tell; empty: it cannot be read.
std::string kernel_text(const fs::path& file) {
  std::ifstream stream(file);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

std::optional<std::uint64_t> number_in(const fs::path& file) {
  const std::string text = kernel_text(file);
  std::uint64_t value = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc())
    return std::nullopt;  // "max"
  return value;
}

// The lowest limit of a group and those above it.
std::optional<std::uint64_t> lowest(const fs::path& mount, std::string group, const char* file) {
  std::optional<std::uint64_t> least;
  while (true) {
    if (const auto limit = number_in(mount.string() + group + "/" + file))
      least = std::min(least.value_or(UINT64_MAX), *limit);
    const std::size_t slash = group.rfind('/');
    if (slash == group.npos) return least;
    group.resize(slash);
  }
}

// Lines "hierarchy:controllers:/path" (cgroups(7)). In a container the path may be that of the host, which is not there; then
// the walk upwards ends at the group that is mounted.
std::optional<std::uint64_t> cgroup_limit(const fs::path& root) {
  std::optional<std::uint64_t> least;
  std::istringstream lines(kernel_text(root / "proc/self/cgroup"));
  for (std::string line; std::getline(lines, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == line.npos || second == line.npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",",
                      group = line.substr(second + 1) == "/" ? "" : line.substr(second + 1);
    std::optional<std::uint64_t> limit;
    if (controllers == ",,") limit = lowest(root / "sys/fs/cgroup", group, "memory.max");
    if (controllers.find(",memory,") != controllers.npos)
      limit = lowest(root / "sys/fs/cgroup/memory", group, "memory.limit_in_bytes");
    if (limit) least = std::min(least.value_or(UINT64_MAX), *limit);
  }
  return least;
}

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
  const auto limit = cgroup_limit(root);
  return limit && *limit < machine_bytes ? *limit : machine_bytes / 10 * 7;
}

std::uint64_t machine_memory() {
  struct sysinfo info {};
  ::sysinfo(&info);  // fails for a bad address only
  return static_cast<std::uint64_t>(info.totalram) * info.mem_unit;
}

}  // namespace dgq::agent
