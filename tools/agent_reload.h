// tools/agent_reload.h - SIGHUP: the settings of `dgq agent` are read again, from all places, and files that
// they name.
#pragma once

#include "agent/api.h"
#include "tools/agent_config.h"

namespace dgq::tools {

// What a running agent takes over: log-level, token-file, tls-cert, tls-key, tls-client-ca, drain-time, and
// the limits of connections. Tokens and certificates are read again even if their files' names are the same.
class AgentReload {
 public:
  // Borrows all of them. read: the settings as they are now.
  AgentReload(std::function<Result<Options>()> read, const Options& started, agent::Log& log, agent::Api& api,
              agent::HttpServer& server)
      : read_(std::move(read)), started_(started), log_(log), api_(api), server_(server) {}

  // All that can change does, or nothing, when something is wrong; the log says which settings changed, and
  // which others wait for a restart.
  void reload();

  const Options& current() const { return current_ ? *current_ : started_; }

 private:
  Result<void> take_over(const Options& options);

  const std::function<Result<Options>()> read_;
  const Options& started_;
  std::unique_ptr<const Options> current_;  // null: those of the start
  agent::Log& log_;
  agent::Api& api_;
  agent::HttpServer& server_;
};

// Null: --token-file is not set.
Result<std::optional<agent::BearerTokens>> read_tokens(const Options& options);

}  // namespace dgq::tools
