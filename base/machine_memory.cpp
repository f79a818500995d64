#include "base/machine_memory.h"

#include <sys/sysinfo.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>
#include <string>

namespace dgq {
namespace {

namespace fs = std::filesystem;

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

}  // namespace

std::uint64_t machine_memory() {
  struct sysinfo info {};
  ::sysinfo(&info);  // fails for a bad address only
  return static_cast<std::uint64_t>(info.totalram) * info.mem_unit;
}

// Lines "hierarchy:controllers:/path" (cgroups(7)). In a container the path may be that of the host, which is not there; then
// the walk upwards ends at the group that is mounted.
std::optional<std::uint64_t> cgroup_memory_limit(const fs::path& root) {
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

}  // namespace dgq
