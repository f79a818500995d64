#include "agent/systemd.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace dgq::agent {
namespace {

constexpr int kFirstSocket = 3;  // SD_LISTEN_FDS_START
constexpr std::uint64_t kMostSockets = 64;

// The variable's value, which is gone afterwards; nullopt: it is not set.
std::optional<std::string> take(const char* name) {
  const char* value = std::getenv(name);
  if (!value) return std::nullopt;
  std::string text = value;
  ::unsetenv(name);
  return text;
}

Result<std::uint64_t> number(const char* name, const std::string& text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size() && !text.empty()) return value;
  return Error{Errc::invalid, std::string("the environment's ") + name +
                                  " is no number: start the agent by systemd, or without"};
}

bool is_ours(std::uint64_t pid) { return pid == static_cast<std::uint64_t>(::getpid()); }

}  // namespace

bool is_journal(int fd) {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat file {};
  return stream && ::fstat(fd, &file) == 0 &&
         stream == std::to_string(file.st_dev) + ":" + std::to_string(file.st_ino);
}

Result<std::vector<Fd>> inherited_sockets() {
  const auto pid_text = take("LISTEN_PID"), count_text = take("LISTEN_FDS");
  take("LISTEN_FDNAMES");
  std::vector<Fd> sockets;
  if (!pid_text || !count_text) return sockets;
  DGQ_TRY(const std::uint64_t pid, number("LISTEN_PID", *pid_text));
  DGQ_TRY(const std::uint64_t count, number("LISTEN_FDS", *count_text));
  if (!is_ours(pid)) return sockets;
  if (count > kMostSockets)
    return Error{Errc::invalid, "LISTEN_FDS is " + *count_text + ": at most " + std::to_string(kMostSockets) +
                                    " sockets can be handed over"};
  for (int fd = kFirstSocket; fd < kFirstSocket + static_cast<int>(count); ++fd) {
    if (::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
      return Error{Errc::invalid, "LISTEN_FDS is " + *count_text + ", but descriptor " + std::to_string(fd) +
                                      " is not open"};
    sockets.emplace_back(fd);
  }
  return sockets;
}

std::string unix_socket_path(std::span<const Fd> sockets) {
  for (const Fd& socket : sockets) {
    sockaddr_un address{};
    socklen_t size = sizeof address;
    const int got = ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size);
    if (got == 0 && address.sun_family == AF_UNIX && address.sun_path[0] == '/')
      return {address.sun_path, ::strnlen(address.sun_path, sizeof address.sun_path)};
  }
  return {};
}

Result<ServiceManager> ServiceManager::from_environment() {
  ServiceManager manager;
  manager.socket_ = take("NOTIFY_SOCKET").value_or("");
  const std::string& path = manager.socket_;
  const bool named = path.starts_with('/') || (path.starts_with('@') && path.size() > 1);
  if (!path.empty() && (!named || path.size() >= sizeof(sockaddr_un::sun_path)))
    return Error{Errc::invalid,
                 "the environment's NOTIFY_SOCKET is neither a path nor @name of a Unix socket"};
  const auto usec_text = take("WATCHDOG_USEC"), pid_text = take("WATCHDOG_PID");
  if (!usec_text) return manager;
  DGQ_TRY(const std::uint64_t usec, number("WATCHDOG_USEC", *usec_text));
  if (pid_text) {
    DGQ_TRY(const std::uint64_t pid, number("WATCHDOG_PID", *pid_text));
    if (!is_ours(pid)) return manager;
  }
  constexpr std::uint64_t kLongest = 86'400'000'000;
  if (usec > 0) manager.watchdog_ = std::chrono::microseconds(std::min(usec, kLongest));
  return manager;
}

void ServiceManager::tell(const std::string& lines) const {
  if (socket_.empty()) return;
  const Fd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, socket_.data(), socket_.size());
  if (address.sun_path[0] == '@') address.sun_path[0] = '\0';  // an abstract name
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket_.size());
  [[maybe_unused]] const auto sent =
      ::sendto(fd.get(), lines.data(), lines.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
               reinterpret_cast<const sockaddr*>(&address), size);
}

void ServiceManager::reloading() const {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  tell("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(now.tv_sec * 1'000'000 + now.tv_nsec / 1000));
}

}  // namespace dgq::agent
