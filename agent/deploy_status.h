// agent/deploy_status.h - what there is to say about a deployment: to clients, to `dgq status`, and to the status page.
#pragma once

#include <optional>
#include <vector>

#include "agent/memory_plan.h"
#include "base/json.h"
#include "registry/deployment.h"

namespace dgq::agent {

struct DeploymentStatus {
  Deployment row;
  std::optional<Digest> wanted;      // what its model:tag names now
  std::optional<MemoryNeed> memory;  // while it is loaded
};

// As the registry has it; nothing is loaded.
Result<std::vector<DeploymentStatus>> deployment_status(Registry& registry);

// {"name", "model", "wanted_version", "active_version", "previous_version", "candidate_version", "refused_version", "state",
// "reason", "since_unix_s", "policy", "memory"}; what is not there is null. docs/AGENT.md has the table.
OrderedJson to_json(const DeploymentStatus& status);
OrderedJson to_json(const std::vector<DeploymentStatus>& all);  // {"deployments": [...]}

}  // namespace dgq::agent
