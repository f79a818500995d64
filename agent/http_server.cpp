// The only file that includes Boost.Beast and Boost.Asio. Beast reads requests; answers are few and simple
// enough to be written as text. Every connection lives on a strand; other threads reach it by posting there.
#include "agent/http_server.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include "base/file.h"

namespace dgq::agent {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using beast::error_code;
using AnySocket = asio::generic::stream_protocol::socket;
using Stream = beast::basic_stream<asio::generic::stream_protocol>;

constexpr std::chrono::seconds kLinger{2};
constexpr std::chrono::milliseconds kAcceptPause{100};

class Connection;

// What replies know of their server, which they may outlive.
struct Gate {
  std::mutex mutex;
  bool open = true;  // the server is there
  std::atomic<bool> draining = false;
};

const char* reason(int status) {
  return http::obsolete_reason(http::int_to_status(static_cast<unsigned>(status))).data();
}

std::string head(int status, std::string_view content_type, std::string_view headers, bool keep_alive) {
  std::string text = "HTTP/1.1 " + std::to_string(status) + " " + reason(status) + "\r\nContent-Type: ";
  text.append(content_type).append("\r\nCache-Control: no-store\r\n").append(headers);
  return text + (keep_alive ? "" : "Connection: close\r\n");
}

std::string whole_answer(int status, std::string_view content_type, std::string_view body,
                         std::string_view headers, bool keep_alive, bool with_body) {
  std::string text = head(status, content_type, headers, keep_alive);
  text += "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n";
  return with_body ? text.append(body) : text;
}

std::string plain_answer(int status) {
  return whole_answer(status, "text/plain", std::string(reason(status)) + "\n",
                      status == 503 ? "Retry-After: 1\r\n" : "", false, true);
}

class Reply : public HttpReply {
 public:
  struct Form {
    bool keep_alive, chunked, with_body;  // what the request allows: HTTP/1.0 knows no chunks, HEAD no body
  };
  Reply(std::weak_ptr<Connection> connection, std::shared_ptr<Gate> gate, Form form)
      : connection_(std::move(connection)), gate_(std::move(gate)), form_(form) {}
  ~Reply() override {
    if (!begun_) send(500, "text/plain", "the request was dropped\n", {});
    if (!complete_) deliver({}, true, false);  // a stream without its end: the connection goes
  }

  void send(int status, std::string_view content_type, std::string_view body,
            std::string_view headers) override {
    begun_ = true;
    const bool keep_alive = may_keep_alive();
    deliver(whole_answer(status, content_type, body, headers, keep_alive, form_.with_body), true, keep_alive);
  }
  void begin_events() override {
    begun_ = true;
    keep_alive_ = form_.chunked && may_keep_alive();
    deliver(
        head(200, "text/event-stream", form_.chunked ? "Transfer-Encoding: chunked\r\n" : "", keep_alive_) +
            "\r\n",
        false, true);
  }
  void event(std::string_view data) override {
    if (form_.with_body) deliver(piece("data: " + std::string(data) + "\n\n"), false, true);
  }
  void end_events() override {
    deliver(form_.chunked && form_.with_body ? "0\r\n\r\n" : "", true, keep_alive_);
  }

  void on_gone(std::function<void()> callback) override {
    {
      const std::lock_guard lock(mutex_);
      if (!gone_) {
        if (!complete_) callback_ = std::move(callback);
        return;
      }
    }
    callback();
  }

  // Of the connection: its client has left.
  void went() {
    std::function<void()> callback;
    {
      const std::lock_guard lock(mutex_);
      if (complete_ || gone_) return;
      gone_ = true;
      callback = std::move(callback_);
    }
    if (callback) callback();
  }

 private:
  bool may_keep_alive() const { return form_.keep_alive && !gate_->draining; }
  std::string piece(const std::string& text) const {
    if (!form_.chunked) return text;
    char size[20];
    std::snprintf(size, sizeof size, "%zx\r\n", text.size());
    return size + text + "\r\n";
  }
  void deliver(std::string bytes, bool last, bool keep_alive);

  const std::weak_ptr<Connection> connection_;
  const std::shared_ptr<Gate> gate_;
  const Form form_;
  std::atomic<bool> begun_ = false;
  bool keep_alive_ = false;  // of a stream; of the thread that sends it
  std::mutex mutex_;         // guards what follows
  bool gone_ = false, complete_ = false;
  std::function<void()> callback_;
};

}  // namespace

struct HttpServer::Shared {
  Shared(const HttpLimits& limits, HttpHandler handler) : limits(limits), handler(std::move(handler)) {}

  const HttpLimits limits;
  const HttpHandler handler;
  const std::shared_ptr<Gate> gate = std::make_shared<Gate>();

  asio::io_context io;
  std::mutex mutex;  // guards what follows
  std::condition_variable closed;
  std::set<std::shared_ptr<Connection>> connections;
  std::vector<std::function<void()>> close_listeners;
  std::vector<std::filesystem::path> unix_paths;
  HttpStats stats;

  std::vector<std::thread> threads;

  template <class Protocol>
  Result<typename Protocol::endpoint> listen(const typename Protocol::endpoint& endpoint,
                                             const std::string& what,
                                             const std::function<Result<void>()>& bound = {});
  template <class Acceptor>
  void accept(const std::shared_ptr<Acceptor>& acceptor);
  void adopt(AnySocket socket);
  void leave(const std::shared_ptr<Connection>& connection);
  void count(std::uint64_t HttpStats::*member) {
    const std::lock_guard lock(mutex);
    ++(stats.*member);
  }
};

namespace {

// Members run on the strand of its stream unless they say otherwise.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(AnySocket socket, HttpServer::Shared& server) : server_(server), stream_(std::move(socket)) {
    error_code error;
    local_ = stream_.socket().local_endpoint(error).protocol().family() == AF_UNIX && !error;
  }

  void start() {
    asio::dispatch(stream_.get_executor(), [self = shared_from_this()] { self->read_request(); });
  }

  // Thread-safe. Bytes of the answer; `last`: it is complete.
  void deliver(std::string bytes, bool last, bool keep_alive) {
    unsent_ += bytes.size();
    asio::post(stream_.get_executor(),
               [self = shared_from_this(), bytes = std::move(bytes), last, keep_alive]() {
                 if (self->closed_) return;
                 if (self->unsent_ > self->server_.limits.unsent_bytes + bytes.size()) return self->close();
                 self->pending_ += bytes;
                 if (last) self->answered_ = true, self->keep_alive_ = keep_alive;
                 if (!self->writing_) self->write();
               });
  }
  // Thread-safe.
  void drain() {
    asio::post(stream_.get_executor(), [self = shared_from_this()] {
      if (self->idle_) self->close();
    });
  }
  // When no thread runs it any more.
  void abandon() {
    if (const auto reply = reply_.lock()) reply->went();
  }

 private:
  template <class Member>
  auto bind(Member member) {
    return
        [self = shared_from_this(), member](error_code error, std::size_t = 0) { ((*self).*member)(error); };
  }

  void read_request() {
    answered_ = false;
    parser_.emplace();
    parser_->header_limit(static_cast<std::uint32_t>(server_.limits.header_bytes));
    parser_->body_limit(server_.limits.body_bytes);
    if (buffer_.size() > 0) return read_header();  // sent before the last answer
    if (server_.gate->draining) return close();
    idle_ = true;
    stream_.expires_after(server_.limits.idle_time);
    stream_.async_read_some(buffer_.prepare(4096),
                            [self = shared_from_this()](error_code error, std::size_t bytes) {
                              self->idle_ = false;
                              if (error) return self->close();
                              self->buffer_.commit(bytes);
                              self->read_header();
                            });
  }

  void read_header() {
    stream_.expires_after(server_.limits.header_time);
    http::async_read_header(stream_, buffer_, *parser_, bind(&Connection::on_header));
  }

  void on_header(error_code error) {
    if (error) return refuse(error);
    if (!beast::iequals(parser_->get()[http::field::expect], "100-continue")) return read_body({});
    static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    asio::async_write(stream_, asio::buffer(kContinue), bind(&Connection::read_body));
  }

  void read_body(error_code error) {
    if (error) return close();
    stream_.expires_after(server_.limits.body_time);
    http::async_read(stream_, buffer_, *parser_, bind(&Connection::on_request));
  }

  void on_request(error_code error) {
    if (error) return refuse(error);
    stream_.expires_never();
    server_.count(&HttpStats::requests);
    auto message = parser_->release();
    const Reply::Form form{message.keep_alive(), message.version() >= 11,
                           message.method() != http::verb::head};
    HttpRequest request{std::string(message.method_string()), std::string(message.target()),
                        std::string(message[http::field::authorization]),
                        std::move(message.body()),
                        std::string(message[http::field::host]),
                        std::string(message[http::field::origin]),
                        std::string(message[http::field::content_type]),
                        local_};
    request.path.resize(std::min(request.path.size(), request.path.find('?')));
    const auto reply = std::make_shared<Reply>(weak_from_this(), server_.gate, form);
    reply_ = reply;
    watch();
    server_.handler(std::move(request), reply);
  }

  // While the handler works: has the client left? Once it has sent its next request that cannot be seen
  // without reading it; then only writing tells.
  void watch() {
    stream_.socket().async_wait(asio::socket_base::wait_read, [self = shared_from_this(),
                                                               reply = reply_](error_code error) {
      if (error || self->closed_ || reply.expired() || reply.lock() != self->reply_.lock() || self->answered_)
        return;
      char byte;
      const auto count = ::recv(self->stream_.socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
      if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) self->close();
    });
  }

  void write() {
    writing_ = true;
    sending_ = std::move(pending_);
    pending_.clear();
    stream_.expires_after(server_.limits.write_time);
    asio::async_write(stream_, asio::buffer(sending_), bind(&Connection::on_written));
  }

  void on_written(error_code error) {
    writing_ = false;
    unsent_ -= sending_.size();
    if (closed_) return;
    if (error) return close();
    if (!pending_.empty()) return write();
    stream_.expires_never();
    if (!answered_) return;
    error_code ignored;
    stream_.socket().cancel(ignored);  // watch()
    reply_.reset();
    if (keep_alive_) return read_request();
    linger();
  }

  // A message that is none, or over a limit.
  void refuse(error_code error) {
    const int status = error == http::error::header_limit ? 431
                       : error == http::error::body_limit ? 413
                                                          : 400;
    const bool theirs = error.category() == make_error_code(http::error::bad_method).category() &&
                        error != http::error::end_of_stream && error != http::error::partial_message;
    if (!theirs) return close();
    server_.count(&HttpStats::malformed);
    deliver(plain_answer(status), true, false);
  }

  // Closing with bytes unread would reset the connection, and the client might not see its answer.
  void linger() {
    error_code ignored;
    stream_.socket().shutdown(asio::socket_base::shutdown_send, ignored);
    buffer_.clear();
    stream_.expires_after(kLinger);
    discard();
  }
  void discard() {
    stream_.async_read_some(buffer_.prepare(4096),
                            [self = shared_from_this()](error_code error, std::size_t) {
                              if (error) return self->close();
                              self->discard();
                            });
  }

  void close() {
    if (std::exchange(closed_, true)) return;
    stream_.close();
    abandon();
    server_.leave(shared_from_this());
  }

  HttpServer::Shared& server_;
  Stream stream_;
  beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::string_body>> parser_;
  std::weak_ptr<Reply> reply_;     // of the request that is being answered
  std::string pending_, sending_;  // of its answer
  std::atomic<std::size_t> unsent_ = 0;
  bool local_;  // a Unix socket
  bool idle_ = false, writing_ = false, answered_ = false, keep_alive_ = false, closed_ = false;
};

void Reply::deliver(std::string bytes, bool last, bool keep_alive) {
  if (last) {
    const std::lock_guard lock(mutex_);
    complete_ = true;
    callback_ = nullptr;
  }
  const std::lock_guard lock(gate_->mutex);
  if (!gate_->open) return;
  if (const auto connection = connection_.lock()) connection->deliver(std::move(bytes), last, keep_alive);
}

}  // namespace

// bound: called between bind and listen, when nobody can connect yet.
template <class Protocol>
Result<typename Protocol::endpoint> HttpServer::Shared::listen(const typename Protocol::endpoint& endpoint,
                                                               const std::string& what,
                                                               const std::function<Result<void>()>& bound) {
  using Acceptor = typename Protocol::acceptor;
  const auto acceptor = std::make_shared<Acceptor>(asio::any_io_executor(asio::make_strand(io)));
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
  return local;
}

template <class Acceptor>
void HttpServer::Shared::accept(const std::shared_ptr<Acceptor>& acceptor) {
  acceptor->async_accept(
      asio::any_io_executor(asio::make_strand(io)), [this, acceptor](error_code error, auto socket) {
        if (!acceptor->is_open()) return;
        if (!error) {
          adopt(AnySocket(std::move(socket)));
          return accept(acceptor);
        }
        // Out of descriptors, say: some will come back.
        const auto pause = std::make_shared<asio::steady_timer>(acceptor->get_executor(), kAcceptPause);
        pause->async_wait([this, acceptor, pause](error_code) {
          if (acceptor->is_open()) accept(acceptor);
        });
      });
}

void HttpServer::Shared::adopt(AnySocket socket) {
  std::shared_ptr<Connection> connection;
  {
    const std::lock_guard lock(mutex);
    ++stats.accepted;
    if (connections.size() < limits.connections) {
      connection = std::make_shared<Connection>(std::move(socket), *this);
      connections.insert(connection);
    } else {
      ++stats.refused;
    }
  }
  if (connection) return connection->start();
  error_code ignored;
  socket.non_blocking(true, ignored);
  socket.write_some(asio::buffer(plain_answer(503)), ignored);
}

void HttpServer::Shared::leave(const std::shared_ptr<Connection>& connection) {
  const std::lock_guard lock(mutex);
  connections.erase(connection);
  if (connections.empty()) closed.notify_all();
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
  const asio::ip::tcp::endpoint endpoint(numeric, port);
  DGQ_TRY(const auto bound,
          shared_->listen<asio::ip::tcp>(endpoint, address + " port " + std::to_string(port)));
  return bound.port();
}

Result<void> HttpServer::listen_unix(const std::filesystem::path& path, unsigned mode) {
  using Local = asio::local::stream_protocol;
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
  return stats;
}

}  // namespace dgq::agent
