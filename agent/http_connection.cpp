#include "agent/http_connection.h"

#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <utility>

namespace dgq::agent {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;

constexpr std::chrono::seconds kLinger{2};
constexpr std::size_t kReadAhead = 4096;

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

}  // namespace

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
    deliver({whole_answer(status, content_type, body, headers, keep_alive, form_.with_body)}, true,
            keep_alive);
  }
  void begin_events() override {
    begun_ = true;
    keep_alive_ = form_.chunked && may_keep_alive();
    deliver(
        {head(200, "text/event-stream", form_.chunked ? "Transfer-Encoding: chunked\r\n" : "", keep_alive_),
         "\r\n"},
        false, true);
  }
  void event(std::string_view data) override {
    if (!form_.with_body) return;
    constexpr std::string_view kBefore = "data: ", kAfter = "\n\n";
    if (!form_.chunked) return deliver({kBefore, data, kAfter}, false, true);
    char size[20];
    std::snprintf(size, sizeof size, "%zx\r\n", kBefore.size() + data.size() + kAfter.size());
    deliver({size, kBefore, data, kAfter, "\r\n"}, false, true);
  }
  void end_events() override {
    deliver({form_.chunked && form_.with_body ? "0\r\n\r\n" : ""}, true, keep_alive_);
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
  void deliver(Connection::Pieces pieces, bool last, bool keep_alive);

  const std::weak_ptr<Connection> connection_;
  const std::shared_ptr<Gate> gate_;
  const Form form_;
  std::atomic<bool> begun_ = false;
  bool keep_alive_ = false;  // of a stream; of the thread that sends it
  std::mutex mutex_;         // guards what follows
  bool gone_ = false, complete_ = false;
  std::function<void()> callback_;
};

void Reply::deliver(Connection::Pieces pieces, bool last, bool keep_alive) {
  if (last) {
    const std::lock_guard lock(mutex_);
    complete_ = true;
    callback_ = nullptr;
  }
  const std::lock_guard lock(gate_->mutex);
  if (!gate_->open) return;
  if (const auto connection = connection_.lock()) connection->deliver(pieces, last, keep_alive);
}

void Connection::start() {
  asio::dispatch(stream_.get_executor(), [self = shared_from_this()] {
    if (!self->stream_.secure()) return self->read_request();
    self->expires_after(self->limits_->handshake_time);
    self->stream_.async_handshake(self->bind(&Connection::on_handshake));
  });
}

void Connection::on_handshake(error_code error) {
  server_.end_handshake(!error);
  if (error) return close();
  read_request();
}

void Connection::deliver(Pieces pieces, bool last, bool keep_alive) {
  std::size_t size = 0;
  for (const std::string_view piece : pieces) size += piece.size();
  const std::lock_guard lock(mutex_);
  delivered_.reserve(delivered_.size() + size);
  if (!news_.posted)
    asio::post(stream_.get_executor(), [self = shared_from_this()] { self->take_delivered(); });
  news_.posted = true;  // what comes from here on cannot fail
  for (const std::string_view piece : pieces) delivered_ += piece;
  unsent_ += size;
  news_.shortest = std::min(news_.shortest, size);
  if (last) news_.last = true, news_.keep_alive = keep_alive;
}

// All that came since the strand was told: seldom more than one event, but for a strand that is busy.
void Connection::take_delivered() {
  News news;
  {
    const std::lock_guard lock(mutex_);
    news = std::exchange(news_, {});
    if (closed_) return delivered_.clear();
    if (pending_.empty()) {
      pending_.swap(delivered_);
    } else {
      pending_ += delivered_;
      delivered_.clear();
    }
  }
  if (unsent_ > limits_->unsent_bytes + news.shortest) return close();
  if (news.last) answered_ = true, keep_alive_ = news.keep_alive;
  if (!writing_) write();
}

void Connection::drain() {
  asio::post(stream_.get_executor(), [self = shared_from_this()] {
    if (self->idle_) self->close();
  });
}

void Connection::abandon() {
  if (const auto reply = reply_.lock()) reply->went();
}

void Connection::read_request() {
  answered_ = false;
  limits_ = server_.limits();
  parser_.emplace();
  parser_->header_limit(static_cast<std::uint32_t>(limits_->header_bytes));
  parser_->body_limit(limits_->body_bytes);
  if (buffer_.size() > 0) return read_header();  // sent before the last answer
  if (server_.gate->draining) return close();
  idle_ = true;
  expires_after(limits_->idle_time);
  stream_.async_read_some(buffer_.prepare(kReadAhead),
                          [self = shared_from_this()](error_code error, std::size_t bytes) {
                            self->idle_ = false;
                            if (error) return self->close();
                            self->buffer_.commit(bytes);
                            self->read_header();
                          });
}

void Connection::read_header() {
  expires_after(limits_->header_time);
  http::async_read_header(stream_, buffer_, *parser_, bind(&Connection::on_header));
}

void Connection::on_header(error_code error) {
  if (error) return refuse(error);
  if (!beast::iequals(parser_->get()[http::field::expect], "100-continue")) return read_body({});
  static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
  asio::async_write(stream_, asio::buffer(kContinue), bind(&Connection::read_body));
}

void Connection::read_body(error_code error) {
  if (error) return close();
  expires_after(limits_->body_time);
  http::async_read(stream_, buffer_, *parser_, bind(&Connection::on_request));
}

void Connection::on_request(error_code error) {
  if (error) return refuse(error);
  stream_.plain().expires_never();
  server_.count(&HttpStats::requests);
  auto message = parser_->release();
  const Reply::Form form{message.keep_alive(), message.version() >= 11, message.method() != http::verb::head};
  HttpRequest request{std::string(message.method_string()),
                      std::string(message.target()),
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

// While the handler works: has the client left? Reading tells, until the client has sent its next request;
// then only writing does.
void Connection::watch() {
  watching_ = true;
  stream_.async_read_some(buffer_.prepare(kReadAhead),
                          [self = shared_from_this()](error_code error, std::size_t bytes) {
                            self->watching_ = false;
                            if (self->closed_) return;
                            self->buffer_.commit(bytes);
                            if (error && error != asio::error::operation_aborted) return self->close();
                            if (self->answered_ && !self->writing_)
                              self->next();  // which had waited for this
                          });
}

void Connection::write() {
  writing_ = true;
  sending_.clear();
  sending_.swap(pending_);
  expires_after(limits_->write_time);
  asio::async_write(stream_, asio::buffer(sending_), bind(&Connection::on_written));
}

void Connection::on_written(error_code error) {
  writing_ = false;
  unsent_ -= sending_.size();
  if (closed_) return;
  if (error) return close();
  if (!pending_.empty()) return write();
  stream_.plain().expires_never();
  if (!answered_) return;
  reply_.reset();
  forget_buffers();
  if (!watching_) return next();
  stream_.plain().cancel();
}

// An idle connection keeps no room for the answer that it had.
void Connection::forget_buffers() {
  const std::lock_guard lock(mutex_);
  for (std::string* buffer : {&pending_, &sending_, &delivered_}) std::string().swap(*buffer);
}

void Connection::next() {
  if (keep_alive_) return read_request();
  linger();
}

// A message that is none, or over a limit.
void Connection::refuse(error_code error) {
  const int status = error == http::error::header_limit ? 431 : error == http::error::body_limit ? 413 : 400;
  const bool theirs = error.category() == make_error_code(http::error::bad_method).category() &&
                      error != http::error::end_of_stream && error != http::error::partial_message;
  if (!theirs) return close();
  server_.count(&HttpStats::malformed);
  deliver({plain_answer(status)}, true, false);
}

// Closing with bytes unread would reset the connection, and the client might not see its answer.
void Connection::linger() {
  expires_after(kLinger);
  if (!stream_.secure()) return shut_down();
  stream_.async_shutdown([self = shared_from_this()](error_code) { self->shut_down(); });
}
void Connection::shut_down() {
  error_code ignored;
  stream_.plain().socket().shutdown(asio::socket_base::shutdown_send, ignored);
  buffer_.clear();
  expires_after(kLinger);
  discard();
}
void Connection::discard() {
  stream_.plain().async_read_some(buffer_.prepare(kReadAhead),
                                  [self = shared_from_this()](error_code error, std::size_t) {
                                    if (error) return self->close();
                                    self->discard();
                                  });
}

void Connection::close() {
  if (std::exchange(closed_, true)) return;
  stream_.plain().close();
  abandon();
  server_.leave(shared_from_this());
}

}  // namespace dgq::agent
