// agent/http_server.h - HTTP/1.1 over TCP, with TLS or without, and Unix sockets, within limits: keep-alive,
// bodies with a length or in chunks, `Expect: 100-continue`, streams of events.
//
// Who sends too much or no HTTP is told (413, 431, 400; 503 over the limit of connections) and disconnected,
// who sends too slowly, reads too slowly or stays idle is disconnected. A client that closes its side, even
// half of it, has left: its request is cancelled.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "agent/http.h"
#include "agent/tls.h"
#include "base/file.h"

namespace dgq::agent {

struct HttpLimits {
  std::size_t header_bytes = 16 << 10;  // request line and headers
  std::size_t body_bytes = 4 << 20;
  std::size_t connections = 256;       // one more gets a 503
  std::size_t unsent_bytes = 1 << 20;  // of an answer that its client does not read
  std::chrono::milliseconds handshake_time{10'000};  // of TLS; at most half of the connections are in one
  std::chrono::milliseconds header_time{10'000}, body_time{30'000};  // for all of it, from its first byte
  std::chrono::milliseconds idle_time{60'000};                       // between requests of a connection
  std::chrono::milliseconds write_time{30'000};                      // for the client to take what is unsent
};

struct HttpStats {
  std::size_t connections = 0;  // now
  std::uint64_t accepted = 0, refused = 0, requests = 0, malformed = 0,
                handshakes_failed = 0;          // refused: over the limit of connections
  std::int64_t certificate_expires_unix_s = 0;  // 0: no TLS
};

// Members are thread-safe unless they say otherwise.
class HttpServer {
 public:
  // Threads run the handler and carry bytes. The handler must not use the server after its destructor has
  // begun.
  HttpServer(const HttpLimits& limits, HttpHandler handler, int threads = 2);
  ~HttpServer();  // drops all connections; answers that come later go nowhere

  // address: numeric, IPv4 or IPv6. port 0: one that is free. Returns the port. io: not to be had.
  Result<std::uint16_t> listen_tcp(const std::string& address, std::uint16_t port);
  // A socket that a dead process left there is replaced; a living one is busy. mode: permissions, 0600 say.
  // Removed at the end.
  Result<void> listen_unix(const std::filesystem::path& path, unsigned mode);
  // A stream socket that somebody else has bound and listens on (systemd.h). Returns what it is, for people.
  // invalid: it is none; unsupported: neither IP nor Unix.
  Result<std::string> listen_inherited(Fd socket);

  // What connections count from their next request on.
  void set_limits(const HttpLimits& limits);
  // TCP connections that come from now on speak TLS. Null: they do not.
  void use_tls(std::shared_ptr<TlsContext> tls);

  // Asks itself for GET /health, past the limit of connections. False: no answer came in time, or it drains.
  bool answers(std::chrono::milliseconds patience);

  // Accepts no more, closes idle connections, and the others after their answer.
  void drain();
  // Waits until no connection is left. False: `patience` ran out first.
  bool wait_until_closed(std::chrono::milliseconds patience);

  HttpStats stats() const;

  struct Shared;  // internal

 private:
  std::unique_ptr<Shared> shared_;
};

}  // namespace dgq::agent
