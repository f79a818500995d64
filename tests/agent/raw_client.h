// tests/agent/raw_client.h - a client that sends whatever bytes it is told.
#pragma once

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>

#include "base/file.h"

namespace dgq::agent::test {

class RawClient {
 public:
  explicit RawClient(const std::filesystem::path& unix_path) : fd_(::socket(AF_UNIX, SOCK_STREAM, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, unix_path.c_str(), sizeof address.sun_path - 1);
    connected_ = ::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  explicit RawClient(std::uint16_t loopback_port) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(loopback_port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }

  bool connected() const { return connected_; }
  int fd() const { return fd_.get(); }

  // False: the server has closed.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto count = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (count <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(count));
    }
    return true;
  }
  void half_close() { ::shutdown(fd_.get(), SHUT_WR); }
  void close() { fd_ = Fd(); }

  // Until the text has come; false: the server closed first.
  bool read_until(std::string_view text) {
    while (received_.find(text) == received_.npos)
      if (!read_more()) return false;
    return true;
  }
  // Some more bytes; false: the server has closed.
  bool read_some() { return read_more(); }
  // Until the server closes.
  std::string read_all() {
    while (read_more()) {
    }
    return std::exchange(received_, {});
  }

  struct Answer {
    int status = 0;  // 0: the server closed
    std::string head, body;
  };
  // The next one on this connection, with a length or in chunks.
  Answer read_answer() {
    if (!read_until("\r\n\r\n")) return {};
    Answer answer;
    answer.head = take(received_.find("\r\n\r\n") + 4);
    answer.status = std::stoi(answer.head.substr(9, 3));
    const std::size_t length = answer.head.find("Content-Length: ");
    if (length != answer.head.npos) {
      answer.body = take(std::stoul(answer.head.substr(length + 16)));
      return answer;
    }
    while (read_until("\r\n")) {
      const std::size_t size = std::stoul(take(received_.find("\r\n") + 2), nullptr, 16);
      answer.body += take(size);
      take(2);
      if (size == 0) break;
    }
    return answer;
  }
  Answer get(const std::string& path, const std::string& headers = {}) {
    send("GET " + path + " HTTP/1.1\r\nHost: x\r\n" + headers + "\r\n");
    return read_answer();
  }
  Answer post(const std::string& path, const std::string& body, const std::string& headers = {}) {
    send("POST " + path + " HTTP/1.1\r\nHost: x\r\n" + headers +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    return read_answer();
  }

  const std::string& received() const { return received_; }

 private:
  bool read_more() {
    char bytes[16384];
    const auto count = ::recv(fd_.get(), bytes, sizeof bytes, 0);
    if (count <= 0) return false;
    received_.append(bytes, static_cast<std::size_t>(count));
    return true;
  }
  std::string take(std::size_t count) {
    while (received_.size() < count && read_more()) {
    }
    std::string taken = received_.substr(0, count);
    received_.erase(0, count);
    return taken;
  }

  Fd fd_;
  bool connected_;
  std::string received_;
};

}  // namespace dgq::agent::test
