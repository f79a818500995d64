// base/machine_memory.h - how much memory there is.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace dgq {

// By sysinfo(2): a service may not see /proc/meminfo (ProcSubset=pid). Bytes.
std::uint64_t machine_memory();

// The lowest limit of this process's control group (v2 or v1) and those above it, in bytes; nullopt: there is none. root: "/", or another
// file system in tests.
std::optional<std::uint64_t> cgroup_memory_limit(const std::filesystem::path& root = "/");

}  // namespace dgq
