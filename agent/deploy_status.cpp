#include "agent/deploy_status.h"

namespace dgq::agent {
namespace {

OrderedJson hex_or_null(const std::optional<Digest>& version) {
  return version ? OrderedJson(version->hex()) : OrderedJson();
}

}  // namespace

Result<std::vector<DeploymentStatus>> deployment_status(Registry& registry) {
  DGQ_TRY(std::vector<Deployment> rows, deployments(registry));
  std::vector<DeploymentStatus> all;
  for (Deployment& row : rows) {
    DGQ_TRY(const auto wanted, named_version(registry, row.model));
    all.push_back({std::move(row), wanted, std::nullopt});
  }
  return all;
}

OrderedJson to_json(const DeploymentStatus& status) {
  const Deployment& row = status.row;
  OrderedJson memory;
  if (status.memory)
    memory = {{"weights_bytes", status.memory->weights},
              {"kv_bytes", status.memory->kv},
              {"scratch_bytes", status.memory->scratch}};
  return {{"name", row.name},
          {"model", row.model.text()},
          {"wanted_version", hex_or_null(status.wanted)},
          {"active_version", hex_or_null(row.active)},
          {"previous_version", hex_or_null(row.previous)},
          {"candidate_version", hex_or_null(row.candidate)},
          {"refused_version", hex_or_null(row.refused)},
          {"state", to_text(row.state)},
          {"reason", row.reason},
          {"since_unix_s", row.since_unix_s},
          {"policy", OrderedJson::parse(row.policy, nullptr, false)},
          {"memory", memory}};
}

OrderedJson to_json(const std::vector<DeploymentStatus>& all) {
  OrderedJson list = OrderedJson::array();
  for (const DeploymentStatus& status : all) list.push_back(to_json(status));
  return {{"deployments", std::move(list)}};
}

}  // namespace dgq::agent
