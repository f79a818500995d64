// agent/http_connection.h - one client: reads its requests in turn, writes their answers. Of http_*.cpp only.
#pragma once

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <initializer_list>

#include "agent/http_stream.h"

namespace dgq::agent {

class Reply;

// The answer to who never gets to ask.
std::string plain_answer(int status);

// Lives on the strand of its socket: members run there unless they say otherwise.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  // local: a Unix socket. tls: null for none; not needed afterwards.
  Connection(AnySocket socket, HttpServer::Shared& server, bool local, TlsContext* tls)
      : server_(server), local_(local), limits_(server.limits_), stream_(std::move(socket), tls) {}

  // Thread-safe.
  void start();
  // Thread-safe. Bytes of the answer, in pieces; `last`: it is complete.
  using Pieces = std::initializer_list<std::string_view>;
  void deliver(Pieces pieces, bool last, bool keep_alive);
  // Thread-safe.
  void drain();
  // When no thread runs it any more.
  void abandon();

 private:
  using error_code = boost::beast::error_code;

  template <class Member>
  auto bind(Member member) {
    return
        [self = shared_from_this(), member](error_code error, std::size_t = 0) { ((*self).*member)(error); };
  }
  void expires_after(std::chrono::milliseconds time) { stream_.plain().expires_after(time); }

  void on_handshake(error_code error);
  void read_request();
  void read_header();
  void on_header(error_code error);
  void read_body(error_code error);
  void on_request(error_code error);
  void watch();
  void take_delivered();
  void write();
  void on_written(error_code error);
  void forget_buffers();
  void next();
  void refuse(error_code error);
  void linger();
  void shut_down();
  void discard();
  void close();

  HttpServer::Shared& server_;
  const bool local_;
  std::shared_ptr<const HttpLimits> limits_;  // of the request that is read or answered
  HttpStream stream_;
  boost::beast::flat_buffer buffer_;
  std::optional<boost::beast::http::request_parser<boost::beast::http::string_body>> parser_;
  std::weak_ptr<Reply> reply_;     // of the request that is being answered
  std::string pending_, sending_;  // of its answer
  std::atomic<std::size_t> unsent_ = 0;
  struct News {  // of deliveries
    std::size_t shortest = SIZE_MAX;
    bool last = false, keep_alive = false;
    bool posted = false;  // the strand will take them
  };
  std::mutex mutex_;       // guards what follows
  std::string delivered_;  // not taken by the strand yet
  News news_;
  bool idle_ = false, watching_ = false, writing_ = false, answered_ = false, keep_alive_ = false,
       closed_ = false;
};

}  // namespace dgq::agent
