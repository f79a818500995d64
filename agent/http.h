// agent/http.h - a request and its reply as handlers see them; http_server.h carries them.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace dgq::agent {

struct HttpRequest {
  std::string method, path;   // path: without the query, as it was sent
  std::string authorization;  // the header's value, or empty
  std::string body;
  std::string host, origin, content_type;  // of the headers, likewise
  bool local = false;                      // it came over a Unix socket
};

// The answer to one request: send(), or begin_events() and then events and end_events(). Every member is
// thread-safe and may be called at any time, from any thread; none blocks. When the last reference goes
// without an answer, the client gets a 500, or its connection ends in the middle of the stream.
class HttpReply {
 public:
  virtual ~HttpReply() = default;

  // headers: whole lines, each with its CRLF.
  virtual void send(int status, std::string_view content_type, std::string_view body,
                    std::string_view headers = {}) = 0;

  // A 200 of server-sent events (WHATWG HTML, 9.2). data: without line breaks.
  virtual void begin_events() = 0;
  virtual void event(std::string_view data) = 0;
  virtual void end_events() = 0;

  // Called once if the client leaves before the answer is complete, by any thread; at once if it has left.
  virtual void on_gone(std::function<void()> callback) = 0;
};

// Runs on one of the server's threads, and should return soon: answers may come later.
using HttpHandler = std::function<void(HttpRequest, std::shared_ptr<HttpReply>)>;

}  // namespace dgq::agent
