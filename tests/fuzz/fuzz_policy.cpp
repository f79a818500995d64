// Any bytes as the policy of a deployment: read_policy must take it whole, and again what changed_policy makes of it, or say what
// is wrong. Any bytes as what a checking process has printed.
#include <cstdlib>

#include "agent/deploy_policy.h"
#include "agent/version_check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dgq;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto health = agent::read_check_result(text);
  if (!health && health.error().what.empty()) std::abort();
  const auto json = parse_json(text, "the policy");
  if (!json) return 0;
  const auto policy = agent::read_policy(*json);
  if (!policy) {
    if (policy.error().code != Errc::invalid || policy.error().what.empty()) std::abort();
    return 0;
  }
  if (policy->rollout < 0 || policy->rollout > 100 || policy->max_crashes < 1 || policy->check_time_s < 1)
    std::abort();
  if (policy->window && agent::DailyWindow::parse(policy->window->text())->text() != policy->window->text())
    std::abort();
  const auto stored = agent::changed_policy("{}", *json);
  if (stored && !agent::read_policy(*parse_json(*stored, "again"))) std::abort();
  return 0;
}
