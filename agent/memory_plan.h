// agent/memory_plan.h - what a version takes when it serves, known before the first byte of it is mapped.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "agent/kv_plan.h"
#include "base/result.h"

namespace dgq::agent {

struct MemoryNeed {
  std::uint64_t weights = 0;  // files that are mapped: all their pages, though the kernel may drop some
  std::uint64_t kv = 0;       // cache of all slots and of prefixes, when full
  std::uint64_t scratch = 0;  // of the steps, and logits
  std::uint64_t total() const { return weights + kv + scratch; }
};
std::string megabytes(std::uint64_t bytes);   // "12.3 MB"
std::string to_text(const MemoryNeed& need);  // "12.3 MB (weights 8.0 MB, KV cache 4.0 MB, scratch 0.3 MB)"

// Scratch of an engine: the decoder's buffers for the largest step (256 rows of a prompt and one of each sequence), rotary
// tables, logits. At least what runtime/decoder.cpp and agent/engine.cpp allocate.
std::uint64_t scratch_bytes(const ModelConfig& config, const KvPlan& kv, int threads);

// What models may take when nobody says so: the limit of this process's cgroup (v2 or v1), if there is one below the memory of
// the machine, else 70 % of that. root: "/", or another file system in tests.
std::uint64_t default_memory_budget(std::uint64_t machine_bytes, const std::filesystem::path& root = "/");

}  // namespace dgq::agent
