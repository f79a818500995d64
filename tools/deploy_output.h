// tools/deploy_output.h - what `dgq deploy`, `rollback`, `undeploy` and `status` share: they talk to the agent of the registry over
// its Unix socket, and to the registry alone where no agent can be reached.
#pragma once

#include <optional>

#include "registry/deployment.h"
#include "tools/registry_output.h"

namespace dgq::tools {

// What is known of the deployments, as GET /v1/deployments says it, with "agent": whether one is at work. Where none is, those that
// one had in hand are "stopped"; the version that served is what the next serves.
Result<Json> ask_status(const std::filesystem::path& registry);

// A change: the agent makes it, or `otherwise` does on the registry. path: below /v1/deployments/. True: the agent did.
Result<bool> ask_change(const Options& options, const std::string& method, const std::string& path,
                        const Json& body, const std::function<Result<void>(Registry&)>& otherwise);

// That of one deployment; null: there is none.
Json find_status(const Json& all, const std::string& name);

void print_status(const Json& all);  // a table

}  // namespace dgq::tools
