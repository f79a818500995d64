// agent/http_shared.h - what the server and its connections have in common. Of http_*.cpp only.
#pragma once

#include <atomic>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "agent/http_server.h"

namespace dgq::agent {

class Connection;
using AnySocket = boost::asio::generic::stream_protocol::socket;

// What replies know of their server, which they may outlive.
struct Gate {
  std::mutex mutex;
  bool open = true;  // the server is there
  std::atomic<bool> draining = false;
};

struct HttpServer::Shared {
  enum class From { tcp, local, self };  // self: the server's own question whether it answers

  Shared(const HttpLimits& limits, HttpHandler handler)
      : handler(std::move(handler)), limits_(std::make_shared<HttpLimits>(limits)) {}

  const HttpHandler handler;
  const std::shared_ptr<Gate> gate = std::make_shared<Gate>();
  boost::asio::io_context io;

  std::mutex mutex;  // guards what follows
  std::condition_variable closed;
  std::set<std::shared_ptr<Connection>> connections;
  std::size_t handshaking = 0;
  std::vector<std::function<void()>> close_listeners;
  std::vector<std::filesystem::path> unix_paths;
  std::shared_ptr<TlsContext> tls;
  HttpStats stats;
  std::shared_ptr<const HttpLimits> limits_;

  std::vector<std::thread> threads;

  template <class Protocol>
  Result<typename Protocol::endpoint> listen(const typename Protocol::endpoint& endpoint,
                                             const std::string& what,
                                             const std::function<Result<void>()>& bound = {});
  template <class Acceptor>
  void serve(const std::shared_ptr<Acceptor>& acceptor);
  template <class Acceptor>
  void accept(const std::shared_ptr<Acceptor>& acceptor);
  void adopt(AnySocket socket, From from);

  // Of connections.
  void leave(const std::shared_ptr<Connection>& connection);
  void end_handshake(bool good);
  void count(std::uint64_t HttpStats::*member) {
    const std::lock_guard lock(mutex);
    ++(stats.*member);
  }
  std::shared_ptr<const HttpLimits> limits() {
    const std::lock_guard lock(mutex);
    return limits_;
  }
};

}  // namespace dgq::agent
