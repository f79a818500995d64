#include "agent/unix_client.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <span>

#include "base/file.h"

namespace dgq::agent {
namespace {

constexpr std::size_t kLongestAnswer = 64 << 20;

Result<Fd> connect_to(const std::filesystem::path& socket, std::chrono::seconds patience) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket.native().size() >= sizeof address.sun_path)
    return Error{Errc::invalid, "the path " + socket.string() + " is too long for a Unix socket"};
  std::strcpy(address.sun_path, socket.c_str());
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval limit{patience.count(), 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (!fd || ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return errno_error("connect to the agent at", socket, errno);
  return fd;
}

Errc code_of(int status) {
  if (status == 404) return Errc::not_found;
  if (status == 429 || status == 503) return Errc::busy;
  return status < 500 ? Errc::invalid : Errc::io;
}

// "HTTP/1.1 200 OK"; 0: it is none.
int status_of(const std::string& answer) {
  constexpr std::string_view kVersion = "HTTP/1.1 ";
  int status = 0;
  if (answer.starts_with(kVersion))
    std::from_chars(answer.data() + kVersion.size(), answer.data() + answer.size(), status);
  return status;
}

}  // namespace

Result<Json> ask_agent(const std::filesystem::path& socket, const std::string& method,
                       const std::string& path, const std::string& body, std::chrono::seconds patience) {
  DGQ_TRY(const Fd fd, connect_to(socket, patience));
  const std::string request =
      method + " " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" +
      "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  DGQ_CHECK(write_all(fd.get(), std::as_bytes(std::span(request)), socket));
  std::string answer;
  std::byte bytes[16384];
  while (true) {
    DGQ_TRY(const std::size_t count, read_some(fd.get(), bytes, socket));
    if (count == 0) break;
    answer.append(reinterpret_cast<const char*>(bytes), count);
    if (answer.size() > kLongestAnswer) return Error{Errc::io, "the agent's answer has no end"};
  }
  const int status = status_of(answer);
  const std::size_t end = answer.find("\r\n\r\n");
  const auto json = parse_json(end == answer.npos ? "" : answer.substr(end + 4), "the agent's answer");
  if (status == 0 || !json) return Error{Errc::io, socket.string() + " does not answer as an agent does"};
  if (status >= 200 && status < 300) return *json;
  const auto error = json->find("error");
  const bool told = error != json->end() && error->is_object() && error->contains("message") &&
                    (*error)["message"].is_string();
  return Error{code_of(status),
               told ? (*error)["message"].get<std::string>() : "the agent answers " + std::to_string(status)};
}

}  // namespace dgq::agent
