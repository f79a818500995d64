// agent/deploy_attempt.cpp - the deployer's way of one version from wanted to active, and the ways back.
#include <algorithm>

#include "agent/deployer.h"

namespace dgq::agent {
namespace {

// Of one version. An agent that dies that often with it under way will die the next time as well.
constexpr std::int64_t kMostAttempts = 3;

Error interrupted(const std::string& why) { return {Errc::busy, why}; }

}  // namespace

// Busy: it was interrupted, and nothing is said about the version.
Result<void> Deployer::step(Deployment& row, DeployState state, std::string_view what) {
  row.state = state;
  const auto taken = record_step(*registry_, row, what);
  if (!taken) return interrupted(taken.error().what);
  if (!*taken) return settled_ = false, interrupted("something else was asked for meanwhile");
  const std::optional<Digest>& version = row.candidate ? row.candidate : row.active;
  OrderedJson fields = {{"name", row.name}, {"state", what.empty() ? to_text(state) : what}};
  if (version) fields["version"] = version->hex();
  if (!row.reason.empty()) fields["why"] = row.reason;
  log_.write(Log::Level::info, "deploy", fields);
  return {};
}

Result<void> Deployer::attempt(Deployment& row, const DeployPolicy& policy, const Digest& version) {
  if (row.candidate != version) row.attempts = 0, row.reason.clear();
  row.candidate = version;
  ++row.attempts;
  DGQ_CHECK(step(row, DeployState::wanted));
  publish();
  const auto done =
      row.attempts > kMostAttempts
          ? Result<void>(Error{Errc::corrupt, "the agent died " + std::to_string(row.attempts - 1) +
                                                  " times while it was on its way"})
          : try_version(row, policy, version);
  if (done) return {};
  if (done.error().code != Errc::busy) return refuse(row, done.error().what);
  --row.attempts;  // the agent lives
  static_cast<void>(record_step(*registry_, row, "interrupted"));
  return done;
}

Result<void> Deployer::try_version(Deployment& row, const DeployPolicy& policy, const Digest& version) {
  DGQ_TRY(const Usable usable,
          resolve_to_use(*registry_, version.hex(), rules_for(row, policy.require_signature, version)));
  for (const std::string& warning : usable.warnings)
    log_.write(Log::Level::warning, "signature", {{"name", row.name}, {"why", warning}});
  DGQ_CHECK(step(row, DeployState::materialising));
  publish();
  for (const BlobRef& blob : usable.version.manifest.blobs) {
    if (stopping_) return interrupted("the agent stops");
    DGQ_CHECK(cache_.materialise(*registry_, blob));
  }
  DGQ_TRY(const VersionPlan plan, plan_version(usable.version, row.name, options_.load));
  DGQ_CHECK(make_room(row, policy, plan.need));
  DGQ_CHECK(step(row, DeployState::verified));
  DGQ_CHECK(check(row, policy, version));
  DGQ_TRY(auto model, load(row, usable, plan));
  return activate(row, usable, std::move(model), plan.need);
}

Result<void> Deployer::check(Deployment& row, const DeployPolicy& policy, const Digest& version) {
  DGQ_CHECK(step(row, DeployState::loading));
  publish();
  Result<void> told;
  const auto loaded = [&] {
    told = step(row, DeployState::checking);
    publish();
  };
  auto asked = change_counter(*registry_);
  const auto go_on = [&] {
    if (stopping_ || !told) return false;
    const auto now = change_counter(*registry_);
    if (!now || !asked || *now == *asked) return true;
    asked = *now;
    const auto still = find_deployment(*registry_, row.name);
    return still ? still->asked == row.asked : still.error().code != Errc::not_found;
  };
  const auto health = check_({row.name, version, std::chrono::seconds(policy.check_time_s)}, loaded, go_on);
  DGQ_CHECK(told);
  if (!health) return health.error();
  log_.write(Log::Level::info, "healthy",
             {{"name", row.name},
              {"version", version.hex()},
              {"first_token_ms", health->first_token_ms},
              {"token_ms", health->token_ms},
              {"memory_bytes", health->memory_bytes}});
  return {};
}

Result<std::shared_ptr<ServedModel>> Deployer::load(const Deployment& row, const Usable& usable,
                                                    const VersionPlan& plan) {
  LoadReport report;
  DGQ_TRY(auto model, load_version(*registry_, cache_, usable, row.name, plan.kv, options_.load, report));
  if (!report.no_chat.empty())
    log_.write(Log::Level::info, "no_chat", {{"model", row.name}, {"why", report.no_chat}});
  log_.write(Log::Level::info, "loaded",
             {{"model", row.name},
              {"version", model->version},
              {"kernel", report.kernel},
              {"threads", options_.load.threads},
              {"bytes_mapped", report.bytes_mapped},
              {"context", report.kv.context},
              {"slots", report.kv.slots},
              {"kv_bytes", plan.need.kv}});
  return model;
}

// From here on requests get the new version. Those that the old one has end there.
Result<void> Deployer::activate(Deployment& row, const Usable& usable, std::shared_ptr<ServedModel> model,
                                const MemoryNeed& need) {
  const Digest version = usable.version.digest;
  const std::optional<Digest> old = row.active;
  const bool back = goes_back(row);
  row.active = std::exchange(row.candidate, std::nullopt);
  row.previous = back ? std::nullopt : old;
  row.attempts = 0;
  if (!back) row.refused.reset(), row.reason.clear();
  DGQ_CHECK(step(row, old ? DeployState::draining : DeployState::active, "active"));
  Served& now = served(row);
  end_run_of(now);
  new_run(row.name, version);
  auto before = models_.put(row.name, row.model, std::move(model));
  now.version = version;
  now.need = need;
  now.unloaded = false;
  now.failures.clear();
  if (const auto remembered = remember_use(*registry_, usable); !remembered)
    log_.write(Log::Level::warning, "signature", {{"name", row.name}, {"why", remembered.error().what}});
  publish();
  prefixes_.remove(row.name);  // of the version before, if there is one
  if (!old) return {};
  const bool drained = retire(std::move(before), options_.drain_time);
  if (!drained)
    log_.write(Log::Level::warning, "cancelled", {{"name", row.name}, {"why", "drain-time was over"}});
  return step(row, DeployState::active, "retired " + old->short_hex());
}

// The candidate failed; what serves goes on. Kept in memory where the registry cannot be written, so that it is not tried again.
Result<void> Deployer::refuse(Deployment& row, const std::string& why) {
  const bool back = goes_back(row);
  row.reason = (back ? "cannot go back to version " : "version ") + row.candidate->short_hex() +
               (back ? ": " : " was refused: ") + why;
  if (back)
    row.previous.reset();  // and whatever failed before stays refused
  else
    row.refused = row.candidate;
  row.candidate.reset();
  row.attempts = 0;
  const auto recorded = step(row, row.active ? DeployState::active : DeployState::failed);
  if (!recorded) served(row).unrecorded = row;
  return recorded;
}

// What is active cannot stay: to the one before, if there is one, which was good when it last ran.
Result<void> Deployer::fall_back(Deployment& row, const std::string& why) {
  row.refused = row.active;
  row.active = std::exchange(row.previous, std::nullopt);
  row.candidate.reset();
  row.attempts = 0;
  row.reason = why;
  prefixes_.remove(row.name);
  return step(row, row.active ? DeployState::active : DeployState::failed);
}

// Room for a version, beside what is loaded; else, if the policy says so, instead of the deployment's own.
Result<void> Deployer::make_room(const Deployment& row, const DeployPolicy& policy, const MemoryNeed& need) {
  const std::uint64_t budget = options_.memory_budget_bytes;
  while (true) {
    std::uint64_t used = 0;
    std::string others;
    for (const auto& [name, other] : served_) {
      if (!other.need) continue;
      used += other.need->total();
      others += (others.empty() ? "" : ", ") + name + " " + to_text(*other.need);
    }
    if (need.total() <= budget && used <= budget - need.total()) return {};
    if (unload_idle(row.name)) continue;
    const auto& own = served(row).need;
    if (policy.replace && own && need.total() <= budget && used - own->total() <= budget - need.total()) {
      unload(row.name, "it is stopped before its successor is loaded");
      served(row).unloaded = false;  // it comes back if that fails
      continue;
    }
    return Error{Errc::invalid,
                 "it does not fit: it needs " + to_text(need) + ", loaded are " +
                     (others.empty() ? "none" : others) + ", the memory budget is " + megabytes(budget) +
                     (own && !policy.replace ? " (--replace stops the old version first)" : "")};
  }
}

// The one that was idle for the longest time, and long enough.
bool Deployer::unload_idle(const std::string& but) {
  if (options_.idle_unload.count() == 0) return false;
  std::optional<std::pair<DeployedModels::Clock::duration, std::string>> longest;
  for (const auto& [name, other] : served_) {
    if (name == but || !other.need || policies_[name].pin) continue;
    const auto idle = models_.idle(name);
    if (idle && *idle >= options_.idle_unload && (!longest || *idle > longest->first))
      longest = {*idle, name};
  }
  if (longest) unload(longest->second, "idle, and its memory is needed");
  return longest.has_value();
}

// Requests for it are told to come again.
void Deployer::unload(const std::string& name, const char* why) {
  Served& now = served_[name];
  log_.write(Log::Level::info, "unloaded", {{"name", name}, {"why", why}});
  const auto row = find_deployment(*registry_, name);
  auto model = models_.put(name, row ? row->model : ModelRef{name}, nullptr);
  if (model) prefixes_.save(*model);
  retire(std::move(model), options_.drain_time);
  now.version.reset();
  now.need.reset();
  now.unloaded = true;
  end_run_of(now);
}

void Deployer::new_run(const std::string& name, const Digest& version) {
  const auto run = begin_run(*registry_, name, version);
  if (run)
    served_[name].run = *run;
  else
    trouble(name, run.error());
}

void Deployer::end_run_of(Served& served) {
  if (served.run == 0 || !registry_) return;
  if (const auto ended = end_run(*registry_, served.run); !ended) trouble("registry", ended.error());
  served.run = 0;
}

}  // namespace dgq::agent
