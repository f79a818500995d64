// agent/systemd.h - what a service and its manager say to each other, without libsystemd: sockets that come
// with the start (sd_listen_fds(3)), and messages about the state (sd_notify(3)). All of it is in environment
// variables; without them nothing happens.
#pragma once

#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"

namespace dgq::agent {

// Whether what is written to the descriptor goes straight to the journal: JOURNAL_STREAM (systemd.exec(5)) names its file.
bool is_journal(int fd);

// The sockets of LISTEN_FDS, if LISTEN_PID is this process. Call once, before threads: the variables are
// taken away, so that no child believes them. invalid: the variables contradict each other or what is open.
Result<std::vector<Fd>> inherited_sockets();

// The path of the first Unix socket among them; empty: there is none.
std::string unix_socket_path(std::span<const Fd> sockets);

// Datagrams to the socket that NOTIFY_SOCKET names.
class ServiceManager {
 public:
  // Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and takes them away. invalid: they are broken.
  static Result<ServiceManager> from_environment();

  // KEY=VALUE lines. A manager that does not listen is no error: the service goes on.
  void tell(const std::string& lines) const;
  void ready() const { tell("READY=1"); }
  void stopping() const { tell("STOPPING=1"); }
  void reloading() const;  // ready() ends it
  void status(std::string_view line) const { tell("STATUS=" + std::string(line)); }
  void alive() const { tell("WATCHDOG=1"); }

  // How long the manager waits for alive(); nullopt: it does not wait for it.
  std::optional<std::chrono::microseconds> watchdog() const { return watchdog_; }

 private:
  std::string socket_;
  std::optional<std::chrono::microseconds> watchdog_;
};

}  // namespace dgq::agent
