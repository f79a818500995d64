#include "agent/version_check.h"

#include "agent/child_process.h"
#include "agent/deploy_policy.h"
#include "agent/members.h"

namespace dgq::agent {
namespace {

constexpr double kMostMs = 1e12;
constexpr std::int64_t kMostBytes = std::int64_t{1} << 60;

}  // namespace

UseRules rules_for(const Deployment& deployment, bool require_signature, const Digest& version) {
  const bool ran_before =
      deployment.active == version || (goes_back(deployment) && deployment.previous == version);
  return {require_signature ? Policy::enforce : Policy::off, deployment.model.model, ran_before};
}

Result<Health> check_version(Registry& registry, LayerCache& cache, const std::string& deployment,
                             const Digest& version, int threads, const std::function<void()>& loaded) {
  DGQ_TRY(const Deployment row, find_deployment(registry, deployment));
  DGQ_TRY(const Json policy_json, parse_json(row.policy, "the policy of deployment " + row.name));
  DGQ_TRY(DeployPolicy policy, read_policy(policy_json));
  std::vector<HealthCheck> checks;
  DGQ_TRY(const std::string expected, expectations_of(registry, version));
  if (!expected.empty()) {
    DGQ_TRY(const Json json, parse_json(expected, "what is expected of version " + version.short_hex()));
    DGQ_TRY(checks.emplace_back(), read_health_check(json));
  }
  checks.push_back(std::move(policy.check));
  DGQ_TRY(const Usable usable,
          resolve_to_use(registry, version.hex(), rules_for(row, policy.require_signature, version)));
  DGQ_TRY(const Model model, Model::load(registry, cache, usable, row.name));
  DGQ_TRY(const Tokenizer tokenizer, Tokenizer::parse(model.tokenizer_json(), row.name + ", blob tokenizer"));
  loaded();
  return run_health_checks(model, tokenizer, threads, checks);
}

std::string check_result_line(const Result<Health>& health) {
  if (!health) return dump({{"error", health.error().what}}) + "\n";
  return dump({{"first_token_ms", health->first_token_ms},
               {"token_ms", health->token_ms},
               {"memory_bytes", health->memory_bytes}}) +
         "\n";
}

Result<Health> read_check_result(std::string_view line) {
  const auto json = parse_json(line, "its result");
  if (!json || !json->is_object()) return Error{Errc::corrupt, "the check ended without a result"};
  Members members(*json);
  if (const auto error = members.text("error")) return Error{Errc::corrupt, *error};
  Health health;
  health.first_token_ms = members.number("first_token_ms", 0, kMostMs).value_or(-1);
  health.token_ms = members.number("token_ms", 0, kMostMs).value_or(-1);
  const auto bytes = members.integer("memory_bytes", 0, kMostBytes);
  health.memory_bytes = static_cast<std::uint64_t>(bytes.value_or(0));
  if (members.error() || health.first_token_ms < 0 || health.token_ms < 0 || !bytes)
    return Error{Errc::corrupt, "the check ended with a result that is none"};
  return health;
}

Checker check_in_child(std::vector<std::string> command) {
  return [command = std::move(command)](const CheckOrder& order, const std::function<void()>& loaded,
                                        const std::function<bool()>& go_on) -> Result<Health> {
    std::vector<std::string> words = command;
    words.insert(words.end(), {"--check", order.version.hex(), order.deployment});
    bool is_loaded = false;
    std::string result;
    const auto line = [&](const std::string& text) {
      if (text == "loaded" && !is_loaded) return is_loaded = true, loaded();
      result = text;
    };
    DGQ_TRY(const ChildEnd end, run_child(words, order.time_limit, line, go_on));
    const std::string doing = is_loaded ? "during its health check" : "while it was loaded";
    if (end.how == ChildEnd::How::stopped) return Error{Errc::busy, "the check was stopped"};
    if (end.how == ChildEnd::How::timed_out)
      return Error{Errc::corrupt, "it did not come to an end within " +
                                      std::to_string(order.time_limit.count() / 1000) + " s " + doing};
    if (end.how == ChildEnd::How::killed)
      return Error{Errc::corrupt, "a process crashed " + doing + " (signal " + std::to_string(end.code) +
                                      ", " + signal_name(end.code) + ")"};
    return read_check_result(result);
  };
}

}  // namespace dgq::agent
