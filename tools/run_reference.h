// tools/run_reference.h - the runs that a command line names.
#pragma once

#include <string>
#include <vector>

#include "bench/run.h"
#include "tools/command.h"

namespace dgq::tools {

// What --help says of such an argument.
inline constexpr const char* kRunReferences =
    "A RUN is 'latest' or the beginning of a digest (dgq bench runs), in the registry or as FILE.db#RUN in "
    "another; "
    "a file\nof dgq bench export, or of --output json; or a registry file, which stands for all of its runs.";

// One run, or all of a file. Errors name the reference.
Result<std::vector<bench::Run>> load_runs(const Options& options, const std::string& reference);

// Every run of a registry, oldest first. Those that cannot be read are named on stderr and left out.
Result<std::vector<bench::Run>> all_runs(const std::filesystem::path& registry);

}  // namespace dgq::tools
