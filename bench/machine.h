// bench/machine.h - what machine this is: facts that do not change while a benchmark runs.
#pragma once

#include <filesystem>

#include "base/json.h"

namespace dgq::bench {

// cpu, architecture, features, cores, threads, smt, caches (an array), governor, memory_bytes, huge_pages, kernel, os, container,
// virtual_machine, numa_nodes; "unknown" says why a fact is null (bench/facts.h). No host or user name.
Json machine_facts(const std::filesystem::path& root = "/");

// What people call a machine in a table: CPU and cores.
std::string machine_name(const Json& machine);

}  // namespace dgq::bench
