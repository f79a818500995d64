#include "agent/deployer.h"

#include <sys/stat.h>

#include <ctime>

namespace dgq::agent {
namespace {

using Clock = DeployedModels::Clock;

constexpr std::int64_t kPatienceMs =
    2000;  // with a registry that others write to: models are to be looked after, too

std::uint64_t failed_requests(const ServedModel& model) {
  return model.engine->stats().finished[static_cast<std::size_t>(Finish::failed)];
}

// The device and inode of a file; zeros when it is not there.
std::pair<std::uint64_t, std::uint64_t> identity(const std::filesystem::path& path) {
  struct stat info;
  if (::stat(path.c_str(), &info) != 0) return {0, 0};
  return {info.st_dev, info.st_ino};
}

}  // namespace

Deployer::Deployer(DeployerOptions options, DeployedModels& models, const Log& log, Checker check)
    : options_(std::move(options)),
      models_(models),
      log_(log),
      check_(std::move(check)),
      prefixes_(options_.prefix_cache_file, PrefixFiles::Naming::by_model, log),
      cache_(options_.cache) {
  models_.on_missed([this] { poke(); });
}

Deployer::~Deployer() { stop(); }

Result<void> Deployer::begin() {
  DGQ_TRY(registry_, Registry::open(options_.registry, Registry::Mode::read_write));
  DGQ_CHECK(set_patience(*registry_, kPatienceMs));
  file_ = identity(options_.registry);
  DGQ_TRY(std::vector<Deployment> rows, deployments(*registry_));
  std::set<std::string> names;
  for (const Deployment& row : rows) names.insert(row.name);
  prefixes_.remove_all_but(names);
  for (Deployment& row : rows)
    if (const auto up = bring_up(row); !up) trouble(row.name, up.error());
  publish();
  return {};
}

void Deployer::start() {
  thread_ = std::thread([this] { run(); });
}

void Deployer::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
  for (auto& [name, served] : served_) end_run_of(served);
}

void Deployer::save_prefixes() const {
  for (const auto& model : models_.all()) prefixes_.save(*model);
}

void Deployer::poke() {
  {
    const std::lock_guard lock(mutex_);
    poked_ = true;
  }
  wake_.notify_all();
}

std::vector<DeploymentStatus> Deployer::status() const {
  const std::lock_guard lock(mutex_);
  return published_;
}

void Deployer::run() {
  while (!stopping_) {
    bool poked;
    {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, options_.poll, [&] { return poked_ || stopping_; });
      poked = std::exchange(poked_, false);
    }
    if (stopping_) return;
    try {
      const auto change = open() ? change_counter(*registry_) : Result<std::int64_t>(seen_change_);
      if (!change) trouble("registry", change.error());
      const bool changed = change && std::exchange(seen_change_, *change) != *change;
      if (registry_ && (poked || changed || !settled_ || requests_failed())) pass();
    } catch (const std::exception& error) {  // no memory: what serves goes on
      trouble("agent", {Errc::io, error.what()});
    }
  }
}

// False: there is no registry now; what serves goes on serving.
bool Deployer::open() {
  const auto now = identity(options_.registry);
  if (registry_ && now == file_) return true;
  if (registry_)
    trouble("registry", {Errc::not_found, "registry " + options_.registry.string() +
                                              " was removed or replaced; what runs goes on running"});
  registry_.reset();
  auto opened = Registry::open(options_.registry, Registry::Mode::read_write);
  if (opened) {
    if (auto patient = set_patience(*opened, kPatienceMs); !patient) opened = patient.error();
  }
  if (!opened) {
    if (now != std::pair<std::uint64_t, std::uint64_t>()) trouble("registry", opened.error());
    return false;
  }
  registry_.emplace(std::move(*opened));
  file_ = now;
  seen_change_ = -1;
  troubles_.erase("registry");
  return true;
}

bool Deployer::pass() {
  settled_ = true;
  if (!open()) return settled_ = false;
  auto rows = deployments(*registry_);
  if (!rows) return trouble("registry", rows.error()), false;
  troubles_.erase("registry");
  forget_ended(*rows);
  for (Deployment& row : *rows) {
    if (stopping_) return false;
    if (const auto done = tend(row); done)
      troubles_.erase(row.name);
    else
      trouble(row.name, done.error());
    publish();
  }
  publish();
  return settled_;
}

// Logged once, until something else is wrong.
void Deployer::trouble(const std::string& about, const Error& error) {
  settled_ = false;
  if (std::exchange(troubles_[about], error.what) == error.what) return;
  log_.write(Log::Level::warning, "trouble", {{"with", about}, {"why", error.what}});
}

void Deployer::publish() {
  auto all = deployment_status(*registry_);
  if (!all) return;
  for (DeploymentStatus& status : *all)
    if (const auto found = served_.find(status.row.name); found != served_.end())
      status.memory = found->second.need;
  const std::lock_guard lock(mutex_);
  published_ = std::move(*all);
}

void Deployer::forget_ended(const std::vector<Deployment>& rows) {
  std::set<std::string> names;
  for (const Deployment& row : rows) names.insert(row.name);
  for (auto it = served_.begin(); it != served_.end();) {
    if (names.contains(it->first)) {
      ++it;
      continue;
    }
    retire(models_.remove(it->first), options_.drain_time);
    prefixes_.remove(it->first);
    log_.write(Log::Level::info, "undeployed", {{"name", it->first}});
    policies_.erase(it->first);
    it = served_.erase(it);  // its run went with its row
  }
}

// What was active serves, also where the registry cannot be written.
Result<void> Deployer::bring_up(Deployment& row) {
  DGQ_TRY(const Json json, parse_json(row.policy, "the policy of deployment " + row.name));
  DGQ_TRY(const DeployPolicy policy, read_policy(json));
  policies_[row.name] = policy;
  const auto counted = survive_crashes(row, policy);
  DGQ_CHECK(serve_active(row, policy));
  return counted;
}

Result<void> Deployer::tend(Deployment& row) {
  auto& late = served(row).unrecorded;
  Result<void> recorded;
  if (late && late->asked == row.asked) {
    recorded = step(*late, late->state);
    if (recorded) row = *late;
  }
  if (recorded) late.reset();
  DGQ_CHECK(bring_up(row));
  DGQ_CHECK(recorded);
  const DeployPolicy& policy = policies_[row.name];
  if (row.state == DeployState::draining) DGQ_CHECK(step(row, DeployState::active));
  DGQ_CHECK(watch_requests(row, policy));
  DGQ_TRY(const auto next, choose(row, policy));
  if (!next) return {};
  const auto done = attempt(row, policy, *next);
  // It may have been stopped to make room for what was then refused.
  const auto serving = serve_active(row, policy);
  return done ? serving : done;
}

// Looks at the runs before this one, once.
Result<void> Deployer::survive_crashes(Deployment& row, const DeployPolicy& policy) {
  bool& begun = served(row).begun;
  if (begun) return {};
  if (row.candidate) {
    DGQ_CHECK(
        forget_runs(*registry_, row.name));  // those deaths count for the candidate (Deployment::attempts)
  } else if (row.active) {
    DGQ_TRY(const std::int64_t deaths,
            abandoned_runs(*registry_, row.name, *row.active, policy.fault_window_s));
    if (deaths >= policy.max_crashes && row.previous)
      DGQ_CHECK(fall_back(row, "the agent died " + std::to_string(deaths) + " times within " +
                                   std::to_string(policy.fault_window_s) + " s while it served version " +
                                   row.active->short_hex()));
  }
  begun = true;
  return {};
}

// Loads what is active, unless it is there.
Result<void> Deployer::serve_active(Deployment& row, const DeployPolicy& policy) {
  Served& now = served(row);
  if (!row.active || now.version == row.active) return {};
  if (now.unloaded && !models_.missed(row.name)) return {};
  const Digest version = *row.active;
  const auto loaded = [&]() -> Result<void> {
    DGQ_TRY(const Usable usable,
            resolve_to_use(*registry_, version.hex(), rules_for(row, policy.require_signature, version)));
    DGQ_TRY(const VersionPlan plan, plan_version(usable.version, row.name, options_.load));
    if (const auto room = make_room(row, policy, plan.need); !room)
      return Error{Errc::busy, room.error().what};
    if (now.run == 0) new_run(row.name, version);
    DGQ_TRY(auto model, load(row, usable, plan));
    prefixes_.load(*model);
    retire(models_.put(row.name, row.model, std::move(model)), options_.drain_time);
    now.version = version;
    now.need = plan.need;
    now.unloaded = false;
    now.failures.clear();
    return {};
  }();
  if (loaded || loaded.error().code == Errc::busy || loaded.error().code == Errc::io) return loaded;
  end_run_of(now);
  DGQ_CHECK(fall_back(
      row, "version " + version.short_hex() + " cannot be loaded any more: " + loaded.error().what));
  return serve_active(row, policy);  // the one before, which has none before it
}

Result<std::optional<Digest>> Deployer::choose(Deployment& row, const DeployPolicy& policy) {
  const std::optional<Digest> nothing;
  if (goes_back(row)) return row.candidate;
  const auto wait = [&](const std::string& why) -> Result<std::optional<Digest>> {
    settled_ = false;
    if (row.state == DeployState::waiting && row.reason == why) return nothing;
    row.candidate.reset();
    row.reason = why;
    DGQ_CHECK(step(row, DeployState::waiting));
    return nothing;
  };
  DGQ_TRY(const auto named, named_version(*registry_, row.model));
  if (!named) return wait("there is no " + row.model.text() + " in the registry");
  const Digest wanted = *named;
  const std::string version = "version " + wanted.short_hex();
  if (wanted == row.active || wanted == row.refused) {
    const DeployState rests = row.active ? DeployState::active : DeployState::failed;
    // What was refused may be tried again when the name has been elsewhere.
    const bool moved = wanted == row.active && row.refused;
    if (row.state == rests && !moved) return nothing;
    row.candidate.reset();
    if (wanted == row.active) {
      row.refused.reset();
      // It goes on serving, under whatever conditions; but those of now may not let it begin again.
      const auto usable =
          resolve_to_use(*registry_, wanted.hex(), rules_for(row, policy.require_signature, wanted));
      const bool untrusted = !usable && usable.error().code == Errc::untrusted;
      row.reason = untrusted ? "the next start would refuse it: " + usable.error().what : "";
    }
    DGQ_CHECK(step(row, rests));
    return nothing;
  }
  if (rollout_place(options_.device_id, row.name) >= policy.rollout) {
    char text[80];
    std::snprintf(text, sizeof text, " is for %g %% of the devices; this one is at %.2f %%", policy.rollout,
                  rollout_place(options_.device_id, row.name));
    return wait(version + text);
  }
  if (row.active && policy.window && !policy.window->contains(std::time(nullptr)))
    return wait(version + " waits for the window " + policy.window->text() + " UTC");
  row.refused.reset();
  return std::optional(wanted);
}

bool Deployer::requests_failed() const {
  for (const auto& [name, served] : served_) {
    const auto model = models_.get(name);
    if (model && failed_requests(*model) > (served.failures.empty() ? 0 : served.failures.back().second))
      return true;
  }
  return false;
}

// Too many failed requests within the window, and the version before is wanted again.
Result<void> Deployer::watch_requests(Deployment& row, const DeployPolicy& policy) {
  Served& now = served(row);
  const auto model = models_.get(row.name);
  if (!model || !row.active) return {};
  auto& samples = now.failures;
  if (samples.empty()) samples.emplace_back(Clock::now(), 0);  // none, when it was loaded
  const std::uint64_t failed = failed_requests(*model);
  if (failed != samples.back().second) samples.emplace_back(Clock::now(), failed);
  const auto oldest = Clock::now() - std::chrono::seconds(policy.fault_window_s);
  while (samples.size() > 1 && samples[1].first < oldest) samples.pop_front();
  const std::uint64_t recent = failed - samples.front().second;
  if (recent < static_cast<std::uint64_t>(policy.max_failures)) return {};
  samples = {{Clock::now(), failed}};
  const std::string why = std::to_string(recent) + " requests failed within " +
                          std::to_string(policy.fault_window_s) + " s on version " + row.active->short_hex();
  if (!row.previous || row.candidate)
    return log_.write(Log::Level::warning, "failing", {{"name", row.name}, {"why", why}}), Result<void>();
  row.refused = row.active;
  row.candidate = row.previous;
  row.reason = why;
  row.attempts = 0;
  return step(row, DeployState::wanted);
}

}  // namespace dgq::agent
