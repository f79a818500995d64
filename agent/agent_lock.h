// agent/agent_lock.h - one agent per registry looks after its deployments, and tells where it listens.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "base/file.h"

namespace dgq::agent {

// Holds a lock on <registry>.agent, in which the path of the agent's Unix socket stands, for as long as it lives. A dead
// process holds nothing.
class AgentLock {
 public:
  // busy: another agent has it. unix_socket: absolute, or empty.
  static Result<AgentLock> take(const std::filesystem::path& registry,
                                const std::filesystem::path& unix_socket);

 private:
  explicit AgentLock(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

struct RunningAgent {
  std::filesystem::path unix_socket;  // may be empty
};
// nullopt: no agent has taken this registry.
std::optional<RunningAgent> find_agent(const std::filesystem::path& registry);

}  // namespace dgq::agent
