// registry/deployment.h - what a device is to serve, and how far the agent has come (docs/AGENT.md, Deployments).
//
// People write what they want: name, model, policy. The agent writes the rest, one durable step at a time; each step leaves
// an audit row. The versions that a deployment names stay until it names others, whatever happens to their tags.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "registry/registry.h"

namespace dgq {

enum class DeployState {
  wanted,         // a version was chosen
  waiting,        // for the maintenance window, the rollout, or a version of that name; `reason` says which
  materialising,  // its blobs become files
  verified,       // they match their digests, its signature holds, and it fits
  loading,        // in a process of its own, beside the one that serves
  checking,       // that process runs the health check
  draining,       // it serves; requests to the one before it end
  active,  // it serves, and nothing is under way; `reason` says what was refused meanwhile, if anything
  failed,  // nothing serves; `reason` says why
};
const char* to_text(DeployState state);

struct Deployment {
  std::string name;    // as a model is called (ModelRef), without tag and slashes
  ModelRef model;      // what is wanted
  std::string policy;  // JSON; the agent knows what is in it
  std::int64_t
      asked;  // counts what people have asked; a step of the agent is taken only while it is the same
  DeployState state = DeployState::wanted;
  std::string reason;
  std::optional<Digest> candidate, active, previous;  // on its way; what serves; the good one before it
  std::optional<Digest> refused;  // what failed, and is not tried again until the name moves or somebody asks
  std::int64_t attempts = 0;      // of the candidate
  std::int64_t since_unix_s = 0;  // in this state
};

// By name.
Result<std::vector<Deployment>> deployments(Registry& registry);
// not_found: says what there is.
Result<Deployment> find_deployment(Registry& registry, std::string_view name);

// What a name means now: nullopt: nothing. Quicker than Registry::resolve, since no manifest is read.
Result<std::optional<Digest>> named_version(Registry& registry, const ModelRef& name);

// For people; each leaves an audit row. policy: makes the new one of what there was ("{}" for a new deployment). A version
// that was refused may be tried again.
Result<Deployment> ask_deployment(
    Registry& registry, const std::string& name, const ModelRef& model,
    const std::function<Result<std::string>(const std::string& before)>& policy);
// Back to the version before; while another is on its way, that one is dropped and what is active stays. What the name says now
// is not tried again. not_found: no such deployment; invalid: there is nothing to go back to.
Result<Deployment> ask_rollback(Registry& registry, std::string_view name);
Result<Deployment> end_deployment(Registry& registry, std::string_view name);

// Whether its candidate is the version before, to which it goes back.
inline bool goes_back(const Deployment& deployment) {
  return deployment.candidate && deployment.candidate == deployment.previous && deployment.refused;
}

// For the agent: the new state, reason, versions and attempts of `after`, if nobody has asked for anything else meanwhile
// (`after.asked`); else false, and nothing is changed. `what`: of the audit row, "state: reason" when empty.
Result<bool> record_step(Registry& registry, Deployment& after, std::string_view what = {});

// A process that serves a version is a run of it; whoever dies without end_run leaves it behind.
Result<std::int64_t> begin_run(Registry& registry, const std::string& deployment, const Digest& version);
Result<void> end_run(Registry& registry, std::int64_t run);
Result<void> forget_runs(Registry& registry, const std::string& deployment);
// Those that began in the last `window_s` seconds and were left behind; older ones are forgotten.
Result<std::int64_t> abandoned_runs(Registry& registry, const std::string& deployment, const Digest& version,
                                    std::int64_t window_s);

// What a version must do before it serves, as JSON: kept with the version, empty when there is none.
Result<std::string> expectations_of(Registry& registry, const Digest& version);
Result<void> set_expectations(Registry& registry, const Digest& version,
                              std::string_view json);  // empty: none

// For those who cannot wait long: how long calls wait for the locks of others before they are busy.
Result<void> set_patience(Registry& registry, std::int64_t milliseconds);
// Changes whenever another connection has changed the registry (PRAGMA data_version): cheap to ask.
Result<std::int64_t> change_counter(Registry& registry);

}  // namespace dgq
