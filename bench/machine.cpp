#include "bench/machine.h"

#include <sys/utsname.h>

#include <set>
#include <sstream>

#include "bench/facts.h"
#include "kernels/cpu.h"

namespace dgq::bench {
namespace {

constexpr const char* kCpus = "/sys/devices/system/cpu";

std::vector<std::string> cpus(const Facts& facts) {
  std::vector<std::string> found = facts.names(kCpus, "cpu");
  std::erase_if(found, [](const std::string& name) {
    return name.size() == 3 || name.find_first_not_of("0123456789", 3) != name.npos;
  });
  return found;
}

void add_cores(Facts& facts) {
  const std::vector<std::string> all = cpus(facts);
  std::set<std::string> cores;
  for (const std::string& cpu : all) {
    const auto siblings = facts.text(std::string(kCpus) + "/" + cpu + "/topology/thread_siblings_list");
    if (siblings) cores.insert(*siblings);
  }
  if (all.empty() || cores.empty()) {
    for (const char* name : {"cores", "threads", "smt"})
      facts.unknown(name, std::string(kCpus) + " does not tell");
    return;
  }
  facts.set("cores", cores.size());
  facts.set("threads", all.size());
  facts.set("smt", cores.size() < all.size());
}

// "32768K" in bytes.
Result<std::uint64_t> size_of(const std::string& text) {
  std::istringstream words(text);
  std::uint64_t number = 0;
  char unit = ' ';
  if (!(words >> number)) return Error{Errc::unsupported, "not a size: " + text};
  words >> unit;
  return number << (unit == 'K' ? 10 : unit == 'M' ? 20 : unit == 'G' ? 30 : 0);
}

void add_caches(Facts& facts) {
  const std::string folder = std::string(kCpus) + "/cpu0/cache";
  Json caches = Json::array();
  for (const std::string& index : facts.names(folder, "index")) {
    const std::string cache = folder + "/" + index + "/";
    const auto level = facts.number(cache + "level");
    const auto type = facts.text(cache + "type"), size = facts.text(cache + "size"),
               shared = facts.text(cache + "shared_cpu_list");
    if (!level || !type || !size) continue;
    const auto bytes = size_of(*size);
    if (!bytes) continue;
    caches.push_back({{"level", static_cast<int>(*level)},
                      {"type", *type},
                      {"bytes", *bytes},
                      {"cpus", shared ? Json(*shared) : Json()}});
  }
  caches.empty() ? facts.unknown("caches", folder + " has none") : facts.set("caches", std::move(caches));
}

// A value of a file of lines "KEY=VALUE" or "KEY: VALUE".
Result<std::string> value_in(const Facts& facts, const std::string& path, const std::string& key) {
  DGQ_TRY(const std::string text, facts.text(path));
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(key)) continue;
    line.erase(0, line.find_first_not_of(" \t=:", key.size()));
    if (line.size() > 1 && line.front() == '"' && line.back() == '"') line = line.substr(1, line.size() - 2);
    return line;
  }
  return Error{Errc::unsupported, path + " has no " + key};
}

void add_memory(Facts& facts) {
  const auto total = value_in(facts, "/proc/meminfo", "MemTotal");
  const auto bytes = total ? size_of(*total + "") : Result<std::uint64_t>(total.error());
  bytes ? facts.set("memory_bytes", *bytes * 1024) : facts.unknown("memory_bytes", bytes.error().what);
  facts.set_or_why("huge_pages", facts.text("/sys/kernel/mm/transparent_hugepage/enabled"));
  const std::size_t nodes = facts.names("/sys/devices/system/node", "node").size();
  nodes > 0 ? facts.set("numa_nodes", nodes)
            : facts.unknown("numa_nodes", "/sys/devices/system/node does not tell");
}

// What a container runtime leaves where everybody can see it; null: none of them.
Json container(const Facts& facts) {
  if (facts.exists("/.dockerenv")) return "docker";
  if (facts.exists("/run/.containerenv")) return "podman";
  if (const auto cgroup = facts.text("/proc/1/cgroup"))
    for (const char* name : {"docker", "kubepods", "containerd", "lxc"})
      if (cgroup->find(name) != cgroup->npos) return name;
  return nullptr;
}

void add_system(Facts& facts) {
  utsname names{};
  ::uname(&names) == 0 ? facts.set("kernel", std::string(names.sysname) + " " + names.release)
                       : facts.unknown("kernel", "uname does not tell");
  facts.set_or_why("os", value_in(facts, "/etc/os-release", "PRETTY_NAME"));
  facts.set("container", container(facts));
  const auto flags = value_in(facts, "/proc/cpuinfo", "flags");
  if (flags)
    facts.set("virtual_machine", (*flags + " ").find(" hypervisor ") != std::string::npos);
  else
    facts.unknown("virtual_machine", flags.error().what);
}

}  // namespace

Json machine_facts(const std::filesystem::path& root) {
  Facts facts(root);
  facts.set("cpu", cpu_name());
  facts.set("architecture", kArchitecture);
  facts.set("features", feature_names(cpu_features()));
  facts.set_or_why("board", facts.text("/proc/device-tree/model"));
  add_cores(facts);
  add_caches(facts);
  facts.set_or_why("governor", facts.text(std::string(kCpus) + "/cpu0/cpufreq/scaling_governor"));
  add_memory(facts);
  add_system(facts);
  return std::move(facts).finish();
}

std::string machine_name(const Json& machine) {
  std::string name = machine.value("cpu", Json()).is_string() ? machine["cpu"].get<std::string>() : "unknown";
  const Json cores = machine.value("cores", Json());
  if (cores.is_number_integer()) name += ", " + cores.dump() + (cores == Json(1) ? " core" : " cores");
  return name;
}

}  // namespace dgq::bench
