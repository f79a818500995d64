#include "bench/http_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>

namespace dgq::bench {
namespace {

constexpr std::size_t kMostLine = 16384;
constexpr std::string_view kScheme = "http://", kUnix = "unix:";

union Address {
  sockaddr any;
  sockaddr_in v4;
  sockaddr_in6 v6;
  sockaddr_un local;
};

// The size of the address; 0: the text is none.
socklen_t fill(const HttpTarget& target, Address& address) {
  std::memset(&address, 0, sizeof address);
  if (!target.unix_path.empty()) {
    if (target.unix_path.size() >= sizeof address.local.sun_path) return 0;
    address.local.sun_family = AF_UNIX;
    std::memcpy(address.local.sun_path, target.unix_path.data(), target.unix_path.size());
    return sizeof address.local;
  }
  if (::inet_pton(AF_INET, target.host.c_str(), &address.v4.sin_addr) == 1) {
    address.v4.sin_family = AF_INET;
    address.v4.sin_port = htons(target.port);
    return sizeof address.v4;
  }
  if (::inet_pton(AF_INET6, target.host.c_str(), &address.v6.sin6_addr) == 1) {
    address.v6.sin6_family = AF_INET6;
    address.v6.sin6_port = htons(target.port);
    return sizeof address.v6;
  }
  return 0;
}

std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

std::optional<std::size_t> number(std::string_view text, int base) {
  std::size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  return value;
}

}  // namespace

Result<HttpTarget> HttpTarget::parse(const std::string& text) {
  const Error wrong{Errc::invalid,
                    "an agent is named like http://127.0.0.1:8080 (a number, or localhost) or "
                    "unix:/run/dgq.sock, not '" +
                        text + "'"};
  HttpTarget target;
  Address address;
  if (text.starts_with(kUnix)) {
    target.unix_path = text.substr(kUnix.size());
    return !target.unix_path.empty() && fill(target, address) ? Result<HttpTarget>(target) : wrong;
  }
  std::string rest = text.starts_with(kScheme) ? text.substr(kScheme.size()) : text;
  if (rest.ends_with('/')) rest.pop_back();
  const std::size_t colon = rest.rfind(':');
  if (colon == rest.npos) return wrong;
  const auto port = number(rest.substr(colon + 1), 10);
  target.host = rest.substr(0, colon);
  if (target.host.starts_with('[') && target.host.ends_with(']'))
    target.host = target.host.substr(1, target.host.size() - 2);
  if (target.host == "localhost") target.host = "127.0.0.1";
  if (!port || *port < 1 || *port > 65535) return wrong;
  target.port = static_cast<std::uint16_t>(*port);
  return fill(target, address) ? Result<HttpTarget>(target) : wrong;
}

std::string HttpTarget::text() const {
  return unix_path.empty() ? host + ":" + std::to_string(port) : unix_path;
}

Result<HttpClient> HttpClient::connect(const HttpTarget& target) {
  Address address;
  const socklen_t size = fill(target, address);
  Fd fd(::socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return errno_error("make", "a socket", errno);
  constexpr int kOn = 1;
  constexpr timeval kPatience{60, 0};
  if (target.unix_path.empty()) ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &kOn, sizeof kOn);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof kPatience);
  if (::connect(fd.get(), &address.any, size) != 0)
    return Error{Errc::not_found, "no agent at " + target.text() + ": " + std::strerror(errno)};
  std::string head = "Host: dgq\r\nContent-Type: application/json\r\n";
  if (!target.token.empty()) head += "Authorization: Bearer " + target.token + "\r\n";
  return HttpClient(std::move(fd), std::move(head), "the agent at " + target.text());
}

Result<void> HttpClient::read_more() {
  char bytes[16384];
  const ssize_t got = ::recv(fd_.get(), bytes, sizeof bytes, 0);
  if (got > 0) {
    buffer_.append(bytes, static_cast<std::size_t>(got));
    return {};
  }
  return Error{Errc::io,
               where_ + (got == 0 ? " closed the connection" : std::string(": ") + std::strerror(errno))};
}

Result<std::string> HttpClient::line() {
  std::size_t end;
  while ((end = buffer_.find("\r\n")) == buffer_.npos) {
    if (buffer_.size() > kMostLine) return Error{Errc::corrupt, where_ + " does not speak HTTP"};
    DGQ_CHECK(read_more());
  }
  std::string text = buffer_.substr(0, end);
  buffer_.erase(0, end + 2);
  return text;
}

Result<void> HttpClient::take(std::size_t bytes, const Body& body) {
  while (bytes > 0) {
    if (buffer_.empty()) DGQ_CHECK(read_more());
    const std::size_t count = std::min(bytes, buffer_.size());
    body(std::string_view(buffer_).substr(0, count));
    buffer_.erase(0, count);
    bytes -= count;
  }
  return {};
}

Result<int> HttpClient::request(const std::string& method, const std::string& path, const std::string& json,
                                const Body& body) {
  const std::string message = method + " " + path + " HTTP/1.1\r\n" + head_ +
                              "Content-Length: " + std::to_string(json.size()) + "\r\n\r\n" + json;
  for (std::size_t sent = 0; sent < message.size();) {
    const ssize_t count = ::send(fd_.get(), message.data() + sent, message.size() - sent, MSG_NOSIGNAL);
    if (count <= 0) return Error{Errc::io, where_ + ": " + std::strerror(errno)};
    sent += static_cast<std::size_t>(count);
  }
  DGQ_TRY(const std::string first, line());
  const auto status =
      first.starts_with("HTTP/1.") && first.size() > 9 ? number(first.substr(9), 10) : std::nullopt;
  if (!status) return Error{Errc::corrupt, where_ + " does not speak HTTP"};
  std::optional<std::size_t> length = 0;
  bool chunked = false;
  while (true) {
    DGQ_TRY(const std::string header, line());
    if (header.empty()) break;
    const std::string small = lower(header);
    if (small.starts_with("content-length:"))
      length = number(std::string_view(small).substr(small.find_first_not_of(" :", 14)), 10);
    if (small.starts_with("transfer-encoding:")) chunked = small.find("chunked") != small.npos;
  }
  if (!chunked) {
    if (!length) return Error{Errc::corrupt, where_ + " sends a body without a length"};
    DGQ_CHECK(take(*length, body));
    return static_cast<int>(*status);
  }
  while (true) {
    DGQ_TRY(const std::string head, line());
    const auto size = number(head, 16);
    if (!size) return Error{Errc::corrupt, where_ + " sends chunks without a length"};
    DGQ_CHECK(take(*size, body));
    DGQ_CHECK(line());
    if (*size == 0) return static_cast<int>(*status);
  }
}

}  // namespace dgq::bench
