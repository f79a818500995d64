// agent/deployer.h - makes what the registry wants what runs: the state machine of deployments (docs/AGENT.md has a drawing).
//
// One thread does all of it, one step at a time. Each step is in the registry before the next begins, so that whoever starts
// after a crash goes on, or goes back, from what is there. A working version is let go only when its successor serves.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <set>
#include <thread>

#include "agent/deploy_policy.h"
#include "agent/deploy_status.h"
#include "agent/deployed_models.h"
#include "agent/load_model.h"
#include "agent/log.h"
#include "agent/prefix_files.h"
#include "agent/version_check.h"

namespace dgq::agent {

struct DeployerOptions {
  std::filesystem::path registry, cache;
  LoadOptions load;
  std::uint64_t memory_budget_bytes = UINT64_MAX;  // of all models together
  std::chrono::seconds idle_unload{
      300};  // a model without requests for so long makes room for another; 0: never
  std::string device_id;
  std::chrono::milliseconds poll{1000};  // how often the registry is asked whether it has changed
  std::chrono::milliseconds drain_time{30'000};
  std::filesystem::path prefix_cache_file;  // PrefixFiles::Naming::by_model; empty: none
};

class Deployer {
 public:
  // Borrows models and log.
  Deployer(DeployerOptions options, DeployedModels& models, const Log& log, Checker check);
  ~Deployer();

  // Opens the registry and loads what was active: a version with which the agent has died too often gives way to the one before.
  // Errors: of the registry; a model that cannot be loaded is none.
  Result<void> begin();
  // From now on a thread looks after the deployments.
  void start();
  // The thread ends as soon as it can; what serves goes on serving. A run that ends after this has ended well.
  void stop();
  // After that, and when the requests have ended: for the next process.
  void save_prefixes() const;

  // Thread-safe.
  void poke();  // something may have changed
  std::vector<DeploymentStatus> status() const;

  // What the thread does again and again, for a caller without that thread. True: nothing is left to do for now.
  bool pass();

 private:
  struct Served {        // what is not in the registry
    bool begun = false;  // the runs before were looked at
    std::optional<Digest> version;
    std::optional<MemoryNeed> need;
    std::int64_t run = 0;                  // 0: none
    bool unloaded = false;                 // to make room: it comes back when a request names it
    std::optional<Deployment> unrecorded;  // a refusal that the registry did not take
    std::deque<std::pair<DeployedModels::Clock::time_point, std::uint64_t>>
        failures;  // their count, over time
  };

  bool open();
  Result<void> bring_up(Deployment& row);
  Result<void> tend(Deployment& row);
  Result<void> survive_crashes(Deployment& row, const DeployPolicy& policy);
  Result<void> serve_active(Deployment& row, const DeployPolicy& policy);
  Result<std::optional<Digest>> choose(Deployment& row, const DeployPolicy& policy);
  Result<void> watch_requests(Deployment& row, const DeployPolicy& policy);
  bool requests_failed() const;
  void forget_ended(const std::vector<Deployment>& rows);

  // deploy_attempt.cpp
  Result<void> attempt(Deployment& row, const DeployPolicy& policy, const Digest& version);
  Result<void> try_version(Deployment& row, const DeployPolicy& policy, const Digest& version);
  Result<void> check(Deployment& row, const DeployPolicy& policy, const Digest& version);
  Result<void> activate(Deployment& row, const Usable& usable, std::shared_ptr<ServedModel> model,
                        const MemoryNeed& need);
  Result<void> refuse(Deployment& row, const std::string& why);
  Result<void> fall_back(Deployment& row, const std::string& why);
  Result<void> make_room(const Deployment& row, const DeployPolicy& policy, const MemoryNeed& need);
  bool unload_idle(const std::string& but);
  void unload(const std::string& name, const char* why);
  Result<std::shared_ptr<ServedModel>> load(const Deployment& row, const Usable& usable,
                                            const VersionPlan& plan);
  Result<void> step(Deployment& row, DeployState state, std::string_view what = {});
  void new_run(const std::string& name, const Digest& version);
  void end_run_of(Served& served);

  Served& served(const Deployment& row) { return served_[row.name]; }
  void trouble(const std::string& about, const Error& error);
  void publish();
  void run();

  const DeployerOptions options_;
  DeployedModels& models_;
  const Log& log_;
  const Checker check_;
  const PrefixFiles prefixes_;
  LayerCache cache_;

  // Of the one thread.
  std::optional<Registry> registry_;
  std::pair<std::uint64_t, std::uint64_t> file_;  // device and inode of what is open
  std::map<std::string, Served> served_;
  std::map<std::string, DeployPolicy> policies_;
  std::map<std::string, std::string> troubles_;  // what was logged last, about what
  std::int64_t seen_change_ = -1;
  bool settled_ = false;

  std::atomic<bool> stopping_ = false;
  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  bool poked_ = false;
  std::vector<DeploymentStatus> published_;

  std::thread thread_;
};

}  // namespace dgq::agent
