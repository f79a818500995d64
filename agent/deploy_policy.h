// agent/deploy_policy.h - under which conditions a deployment moves to another version. docs/AGENT.md has the table.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "agent/health_check.h"

namespace dgq::agent {

// A time of the day, every day, UTC: from `begin` to before `end`, minutes since midnight. begin > end: over midnight.
struct DailyWindow {
  int begin, end;
  bool contains(std::int64_t unix_s) const;
  std::string text() const;                                 // "02:00-04:30"
  static Result<DailyWindow> parse(std::string_view text);  // invalid
};

struct DeployPolicy {
  bool replace = false;            // what does not fit beside the running version: stop that one first
  bool pin = false;                // never unloaded to make room for another
  bool require_signature = false;  // as the registry's policy `enforce`
  double rollout = 100;            // percent of the devices
  std::optional<DailyWindow> window;
  std::int64_t max_crashes = 3, max_failures = 10;  // within fault_window_s; then back to the version before
  std::int64_t fault_window_s = 600;
  std::int64_t check_time_s = 300;  // to load and check a version
  HealthCheck check;
};

// As it is stored and as the API takes it. invalid: names the member.
Result<DeployPolicy> read_policy(const Json& json);
// `before` with the members of `change` (null takes one away), checked.
Result<std::string> changed_policy(const std::string& before, const Json& change);

// Where this device stands in the rollouts of this deployment: 0 to below 100; a rollout of more percent includes it.
double rollout_place(std::string_view device_id, std::string_view deployment);

}  // namespace dgq::agent
