// tools/agent_listen.h - where `dgq agent` is reached, and what connections may do.
#pragma once

#include "agent/http_server.h"
#include "agent/log.h"
#include "tools/command.h"

namespace dgq::tools {

void add_listen_options(Options& options);
// Those of add_listen_options(), each in its range.
Result<void> check_listen_options(const Options& options);
// invalid: one of the options is not from low to high.
struct Range {
  const char* name;
  std::uint32_t low, high;
};
Result<void> check_ranges(const Options& options, std::span<const Range> ranges);

agent::HttpLimits http_limits(const Options& options);

// Null without --tls-cert. Certificates that clients refuse, or soon will, are said in the log.
Result<std::shared_ptr<agent::TlsContext>> read_tls(const Options& options, const agent::Log& log);

// On the sockets that were handed over, and without any on --listen and --unix.
Result<void> listen(agent::HttpServer& server, const Options& options, std::vector<Fd> handed_over,
                    const agent::Log& log);

}  // namespace dgq::tools
