// tools/agent_config.h - where settings of `dgq agent` come from: the command line, else the environment
// (DGQ_AGENT_KV_BUDGET is --kv-budget), else the configuration file (kv-budget = 1G), else the default.
#pragma once

#include <map>

#include "tools/command.h"

namespace dgq::tools {

// After Options::parse(): adds what environment and file say to options.values. The file is --config, else
// /etc/dgq/agent.conf where that is there. Returns where each setting came from: "command line",
// "environment", a file's name; none: it is a default.
Result<std::map<std::string, std::string>> read_agent_config(Options& options);

// As a configuration file, each line with where it came from.
std::string agent_config_text(const Options& options, const std::map<std::string, std::string>& sources);

// Names of the settings that differ.
std::vector<std::string> changed_settings(const Options& before, const Options& after);

}  // namespace dgq::tools
