// tests/agent/notify_socket.h - the end of NOTIFY_SOCKET that the service manager has.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <chrono>
#include <cstddef>
#include <cstring>
#include <string>

#include "base/file.h"

namespace dgq::agent::test {

class NotifySocket {
 public:
  // A path, or @name for an abstract one.
  explicit NotifySocket(std::string name)
      : name_(std::move(name)), fd_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, name_.data(), name_.size());
    if (name_.front() == '@') address.sun_path[0] = '\0';
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name_.size());
    EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&address), size), 0);
  }
  const std::string& name() const { return name_; }

  std::string next() {
    char text[4096];
    const auto count = ::recv(fd_.get(), text, sizeof text, 0);
    return {text, static_cast<std::size_t>(std::max<ssize_t>(count, 0))};
  }
  // No message within that time; else the next one is read.
  bool quiet_for(std::chrono::milliseconds time) {
    pollfd wanted{fd_.get(), POLLIN, 0};
    if (::poll(&wanted, 1, static_cast<int>(time.count())) == 0) return true;
    next();
    return false;
  }

 private:
  const std::string name_;
  const Fd fd_;
};

}  // namespace dgq::agent::test
