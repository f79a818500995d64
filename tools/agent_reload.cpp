#include "tools/agent_reload.h"

#include <algorithm>

#include "tools/agent_listen.h"

namespace dgq::tools {
using agent::Log;

namespace {

constexpr const char* kLive[] = {"log-level",      "token-file",  "tls-cert",     "tls-key",
                                 "tls-client-ca",  "connections", "header-bytes", "body-bytes",
                                 "handshake-time", "header-time", "body-time",    "idle-time",
                                 "write-time",     "drain-time"};

bool is_live(const std::string& name) {
  return std::find(std::begin(kLive), std::end(kLive), name) != std::end(kLive);
}

}  // namespace

Result<std::optional<agent::BearerTokens>> read_tokens(const Options& options) {
  const auto& file = options.get<std::string>("token-file");
  if (file.empty()) return std::optional<agent::BearerTokens>();
  DGQ_TRY(agent::BearerTokens tokens, agent::BearerTokens::read(file));
  return std::optional(std::move(tokens));
}

Result<void> AgentReload::take_over(const Options& options) {
  DGQ_CHECK(check_listen_options(options));
  DGQ_TRY(const Log::Level level, Log::parse_level(options.get<std::string>("log-level")));
  DGQ_TRY(auto tokens, read_tokens(options));
  DGQ_TRY(auto tls, read_tls(options, log_));
  log_.set_level(level);
  api_.use_tokens(std::move(tokens));
  server_.use_tls(std::move(tls));
  server_.set_limits(http_limits(options));
  return {};
}

void AgentReload::reload() {
  auto options = read_();
  auto taken = options ? take_over(*options) : Result<void>(options.error());
  if (!taken) {
    log_.write(Log::Level::error, "reload", {{"why", taken.error().what}, {"changed", "nothing"}});
    return;
  }
  OrderedJson changed = OrderedJson::array(), waiting = OrderedJson::array();
  for (const std::string& name : changed_settings(current(), *options))
    if (is_live(name)) changed.push_back(name);
  for (const std::string& name : changed_settings(started_, *options))
    if (!is_live(name)) waiting.push_back(name);
  current_ = std::make_unique<const Options>(std::move(*options));
  log_.write(Log::Level::info, "reload", {{"changed", changed}, {"needs_restart", waiting}});
}

}  // namespace dgq::tools
