// Where connections come from; http_connection.h has what becomes of them. Boost.Asio and Beast are included
// by http_*.cpp only. Every connection lives on a strand; other threads reach it by posting there.
#include "agent/http_server.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>

#include "agent/http_connection.h"

namespace dgq::agent {
namespace {

namespace asio = boost::asio;
using boost::beast::error_code;
using Tcp = asio::ip::tcp;
using Local = asio::local::stream_protocol;

constexpr std::chrono::milliseconds kAcceptPause{100};

}  // namespace

// bound: called between bind and listen, when nobody can connect yet.
template <class Protocol>
Result<typename Protocol::endpoint> HttpServer::Shared::listen(const typename Protocol::endpoint& endpoint,
                                                               const std::string& what,
                                                               const std::function<Result<void>()>& bound) {
  const auto acceptor =
      std::make_shared<typename Protocol::acceptor>(asio::any_io_executor(asio::make_strand(io)));
  error_code error;
  const auto failed = [&](const char* action) {
    return Error{Errc::io, std::string("cannot ") + action + " " + what + ": " + error.message()};
  };
  if (acceptor->open(endpoint.protocol(), error)) return failed("make a socket for");
  if (acceptor->set_option(asio::socket_base::reuse_address(true), error)) return failed("set up");
  if (acceptor->bind(endpoint, error)) return failed("bind to");
  if (bound) DGQ_CHECK(bound());
  if (acceptor->listen(asio::socket_base::max_listen_connections, error)) return failed("listen on");
  const auto local = acceptor->local_endpoint(error);
  serve(acceptor);
  return local;
}

template <class Acceptor>
void HttpServer::Shared::serve(const std::shared_ptr<Acceptor>& acceptor) {
  {
    const std::lock_guard lock(mutex);
    close_listeners.push_back([acceptor] {
      asio::post(acceptor->get_executor(), [acceptor] {
        error_code ignored;
        acceptor->close(ignored);
      });
    });
  }
  asio::post(acceptor->get_executor(), [this, acceptor] { accept(acceptor); });
}

template <class Acceptor>
void HttpServer::Shared::accept(const std::shared_ptr<Acceptor>& acceptor) {
  constexpr bool kTcp = std::is_same_v<typename Acceptor::protocol_type, Tcp>;
  acceptor->async_accept(
      asio::any_io_executor(asio::make_strand(io)), [this, acceptor](error_code error, auto socket) {
        if (!acceptor->is_open()) return;
        if (!error) {
          error_code ignored;  // an event goes out when it comes, not when more have come
          if constexpr (kTcp) socket.set_option(Tcp::no_delay(true), ignored);
          adopt(AnySocket(std::move(socket)), kTcp ? From::tcp : From::local);
          return accept(acceptor);
        }
        // Out of descriptors, say: some will come back.
        const auto pause = std::make_shared<asio::steady_timer>(acceptor->get_executor(), kAcceptPause);
        pause->async_wait([this, acceptor, pause](error_code) {
          if (acceptor->is_open()) accept(acceptor);
        });
      });
}

void HttpServer::Shared::adopt(AnySocket socket, From from) {
  std::shared_ptr<Connection> connection;
  bool secure;
  {
    const std::lock_guard lock(mutex);
    secure = from == From::tcp && tls;
    stats.accepted += from != From::self;
    // Who only shakes hands takes at most half of the places.
    const bool room = connections.size() < limits_->connections &&
                      (!secure || handshaking < std::max<std::size_t>(1, limits_->connections / 2));
    if (room || from == From::self) {
      connection = std::make_shared<Connection>(std::move(socket), *this, from != From::tcp,
                                                secure ? tls.get() : nullptr);
      connections.insert(connection);
      handshaking += secure;
    } else {
      ++stats.refused;
    }
  }
  if (connection) return connection->start();
  if (secure) return;  // an answer that can be read would take the handshake
  error_code ignored;
  socket.non_blocking(true, ignored);
  socket.write_some(asio::buffer(plain_answer(503)), ignored);
}

void HttpServer::Shared::leave(const std::shared_ptr<Connection>& connection) {
  const std::lock_guard lock(mutex);
  connections.erase(connection);
  if (connections.empty()) closed.notify_all();
}

void HttpServer::Shared::end_handshake(bool good) {
  const std::lock_guard lock(mutex);
  --handshaking;
  stats.handshakes_failed += !good;
}

HttpServer::HttpServer(const HttpLimits& limits, HttpHandler handler, int threads)
    : shared_(std::make_unique<Shared>(limits, std::move(handler))) {
  for (int i = 0; i < threads; ++i)
    shared_->threads.emplace_back([&io = shared_->io] {
      const auto work = asio::make_work_guard(io);
      while (!io.stopped()) {
        try {
          io.run();
        } catch (const std::exception&) {  // no memory for one request: its reply goes, the others go on
        }
      }
    });
}

HttpServer::~HttpServer() {
  {
    const std::lock_guard lock(shared_->gate->mutex);
    shared_->gate->open = false;
  }
  shared_->io.stop();
  for (std::thread& thread : shared_->threads) thread.join();
  for (const auto& connection : shared_->connections) connection->abandon();
  shared_->connections.clear();
  for (const auto& path : shared_->unix_paths) ::unlink(path.c_str());
}

Result<std::uint16_t> HttpServer::listen_tcp(const std::string& address, std::uint16_t port) {
  error_code error;
  const auto numeric = asio::ip::make_address(address, error);
  if (error) return Error{Errc::invalid, "'" + address + "' is no numeric IPv4 or IPv6 address"};
  const Tcp::endpoint endpoint(numeric, port);
  DGQ_TRY(const auto bound, shared_->listen<Tcp>(endpoint, address + " port " + std::to_string(port)));
  return bound.port();
}

Result<void> HttpServer::listen_unix(const std::filesystem::path& path, unsigned mode) {
  constexpr std::size_t kLongest = sizeof(sockaddr_un::sun_path) - 1;
  if (path.native().empty() || path.native().size() > kLongest)
    return Error{Errc::invalid, "the path of a Unix socket has 1 to " + std::to_string(kLongest) +
                                    " bytes, not '" + path.native() + "'"};
  const Local::endpoint endpoint(path.native());
  struct stat info;
  if (::lstat(path.c_str(), &info) == 0) {
    if (!S_ISSOCK(info.st_mode)) return Error{Errc::invalid, path.native() + " is there and is no socket"};
    Local::socket probe(shared_->io);
    error_code error;
    if (!probe.connect(endpoint, error))
      return Error{Errc::busy, "another process listens on " + path.native()};
    if (error == asio::error::connection_refused) ::unlink(path.c_str());
  }
  const auto set_mode = [&]() -> Result<void> {
    if (::chmod(path.c_str(), mode) == 0) return {};
    return errno_error("set the permissions of", path, errno);
  };
  DGQ_TRY(const auto bound, shared_->listen<Local>(endpoint, path.native(), set_mode));
  const std::lock_guard lock(shared_->mutex);
  shared_->unix_paths.push_back(bound.path());
  return {};
}

Result<std::string> HttpServer::listen_inherited(Fd socket) {
  int family = 0, listening = 0;
  socklen_t size = sizeof family;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_DOMAIN, &family, &size) != 0 ||
      ::getsockopt(socket.get(), SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0 || !listening)
    return Error{Errc::invalid, "descriptor " + std::to_string(socket.get()) +
                                    ", which was handed over, is no stream socket that listens"};
  const auto start = [&](auto acceptor, auto protocol) -> Result<typename decltype(protocol)::endpoint> {
    error_code error;
    if (acceptor->assign(protocol, socket.get(), error))
      return Error{Errc::io, "cannot use the socket that was handed over: " + error.message()};
    [[maybe_unused]] const int theirs = socket.release();
    shared_->serve(acceptor);
    return acceptor->local_endpoint(error);
  };
  const asio::any_io_executor strand = asio::make_strand(shared_->io);
  if (family == AF_UNIX) {
    DGQ_TRY(const auto local, start(std::make_shared<Local::acceptor>(strand), Local()));
    return local.path();
  }
  if (family != AF_INET && family != AF_INET6)
    return Error{Errc::unsupported, "a socket that was handed over is of family " + std::to_string(family) +
                                        ": IPv4, IPv6 and Unix are served"};
  DGQ_TRY(const auto local,
          start(std::make_shared<Tcp::acceptor>(strand), family == AF_INET ? Tcp::v4() : Tcp::v6()));
  return local.address().to_string() + " port " + std::to_string(local.port());
}

void HttpServer::set_limits(const HttpLimits& limits) {
  const std::lock_guard lock(shared_->mutex);
  shared_->limits_ = std::make_shared<HttpLimits>(limits);
}

void HttpServer::use_tls(std::shared_ptr<TlsContext> tls) {
  const std::lock_guard lock(shared_->mutex);
  shared_->tls = std::move(tls);
}

bool HttpServer::answers(std::chrono::milliseconds patience) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return false;
  const Fd ours(ends[0]);
  Fd theirs(ends[1]);
  AnySocket socket(asio::any_io_executor(asio::make_strand(shared_->io)));
  error_code error;
  if (socket.assign(asio::generic::stream_protocol(AF_UNIX, 0), theirs.get(), error)) return false;
  [[maybe_unused]] const int given = theirs.release();
  shared_->adopt(std::move(socket), Shared::From::self);
  constexpr std::string_view kQuestion =
      "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  if (::send(ours.get(), kQuestion.data(), kQuestion.size(), MSG_NOSIGNAL) < 0) return false;
  pollfd wanted{ours.get(), POLLIN, 0};
  char byte;
  return ::poll(&wanted, 1, static_cast<int>(patience.count())) == 1 && ::recv(ours.get(), &byte, 1, 0) == 1;
}

void HttpServer::drain() {
  shared_->gate->draining = true;
  const std::lock_guard lock(shared_->mutex);
  for (const auto& close : shared_->close_listeners) close();
  for (const auto& connection : shared_->connections) connection->drain();
}

bool HttpServer::wait_until_closed(std::chrono::milliseconds patience) {
  std::unique_lock lock(shared_->mutex);
  return shared_->closed.wait_for(lock, patience, [&] { return shared_->connections.empty(); });
}

HttpStats HttpServer::stats() const {
  const std::lock_guard lock(shared_->mutex);
  HttpStats stats = shared_->stats;
  stats.connections = shared_->connections.size();
  if (shared_->tls) stats.certificate_expires_unix_s = shared_->tls->expires_unix_s();
  return stats;
}

}  // namespace dgq::agent
