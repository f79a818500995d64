// agent/version_check.h - a version is loaded and checked before the agent itself touches it: in a process of its own, so that
// a version that crashes, hangs or eats all memory takes nothing along.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "agent/health_check.h"
#include "registry/deployment.h"
#include "registry/layer_cache.h"
#include "registry/trust.h"

namespace dgq::agent {

struct CheckOrder {
  std::string deployment;
  Digest version;
  std::chrono::milliseconds time_limit;
};

// loaded: called when the weights are there and the health check begins. go_on: asked now and then; false ends the check with
// busy. Else an Error is the version's fault, and says what.
using Checker = std::function<Result<Health>(const CheckOrder& order, const std::function<void()>& loaded,
                                             const std::function<bool()>& go_on)>;

// Under which rules a version may serve in a deployment.
UseRules rules_for(const Deployment& deployment, bool require_signature, const Digest& version);

// In this process: loads the version and checks what is expected of it (expectations_of) and what the deployment's policy asks.
Result<Health> check_version(Registry& registry, LayerCache& cache, const std::string& deployment,
                             const Digest& version, int threads, const std::function<void()>& loaded);

// What a process says that checks a version: "loaded", then one line of JSON. Untrusted: it may have crashed in the middle.
std::string check_result_line(const Result<Health>& health);
Result<Health> read_check_result(std::string_view line);

// A Checker that starts `command` (its words; the first is found in PATH) with "--check DIGEST DEPLOYMENT", reads what it prints,
// and kills it when its time is over or nobody wants to know any more.
Checker check_in_child(std::vector<std::string> command);

}  // namespace dgq::agent
