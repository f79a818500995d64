// bench/http_client.h - as much of HTTP/1.1 as measuring an agent needs: one request at a time on a connection, answers with a length, in
// chunks, or until the server closes. Blocking.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/file.h"
#include "base/result.h"

namespace dgq::bench {

struct HttpTarget {
  std::string unix_path;           // or, when empty:
  std::string host = "127.0.0.1";  // numeric
  std::uint16_t port = 8080;
  std::string token;  // bearer; may be empty
  // "http://127.0.0.1:8080", "localhost:8080", "http://[::1]:8080", "unix:/run/dgq.sock". invalid: anything else.
  static Result<HttpTarget> parse(const std::string& text);
  std::string text() const;
};

class HttpClient {
 public:
  static Result<HttpClient> connect(const HttpTarget& target);  // not_found: nobody listens

  // Pieces of the body as they arrive.
  using Body = std::function<void(std::string_view)>;
  // The status. io: the connection broke, or nothing came for a minute; corrupt: no HTTP.
  Result<int> request(const std::string& method, const std::string& path, const std::string& json,
                      const Body& body);

 private:
  HttpClient(Fd fd, std::string head, std::string where)
      : fd_(std::move(fd)), head_(std::move(head)), where_(std::move(where)) {}
  Result<void> read_more();
  Result<std::string> line();
  Result<void> take(std::size_t bytes, const Body& body);

  Fd fd_;
  std::string head_, where_, buffer_;
};

}  // namespace dgq::bench
