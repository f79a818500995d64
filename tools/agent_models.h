// tools/agent_models.h - what `dgq agent` serves: the one model that was named, or the deployments of the registry.
#pragma once

#include <functional>
#include <memory>

#include "agent/api.h"
#include "agent/load_model.h"
#include "tools/command.h"

namespace dgq::tools {

void add_deployment_options(Options& options);

class AgentModels {
 public:
  virtual ~AgentModels() = default;
  // Loads what there is to load. Borrows the options and the log. unix_socket: where `dgq deploy` finds the agent; absolute, or
  // empty.
  static Result<std::unique_ptr<AgentModels>> open(const Options& options, const agent::LoadOptions& load,
                                                   const std::filesystem::path& unix_socket,
                                                   const agent::Log& log);

  virtual agent::Models& models() = 0;
  virtual void attach(agent::Api& /*api*/) {}  // before the server listens
  virtual void start() {}                      // after that
  virtual void stop() {}                       // no model comes or goes any more
  virtual void save_prefixes() {}              // at the end, for the next process

  // Requests that run may end. False: `patience` ran out, or `hurry` said so.
  bool drain(std::chrono::seconds patience, const std::function<bool()>& hurry);
};

// `dgq agent --check DIGEST DEPLOYMENT`: version_check.h. The exit code.
Result<int> check_version_here(const Options& options, int threads);

}  // namespace dgq::tools
