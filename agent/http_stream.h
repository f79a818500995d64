// agent/http_stream.h - a connection's bytes, with TLS or without, as Beast reads and writes them.
#pragma once

#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <optional>

#include "agent/http_shared.h"
#include "agent/tls.h"

namespace dgq::agent {

// Its members run on its executor. Time-outs are those of the stream below: they hold for the handshake as
// well.
class HttpStream {
 public:
  using Plain = boost::beast::basic_stream<boost::asio::generic::stream_protocol>;
  using executor_type = Plain::executor_type;

  HttpStream(AnySocket socket, TlsContext* tls) : plain_(std::move(socket)) {
    if (tls) tls_.emplace(plain_, tls->context());
  }

  executor_type get_executor() noexcept { return plain_.get_executor(); }
  Plain& plain() { return plain_; }
  bool secure() const { return tls_.has_value(); }

  template <class Handler>
  void async_handshake(Handler&& handler) {
    tls_->async_handshake(boost::asio::ssl::stream_base::server, std::forward<Handler>(handler));
  }
  // Says that no more will come; TLS only.
  template <class Handler>
  void async_shutdown(Handler&& handler) {
    tls_->async_shutdown(std::forward<Handler>(handler));
  }
  template <class Buffers, class Handler>
  void async_read_some(const Buffers& buffers, Handler&& handler) {
    if (tls_) return tls_->async_read_some(buffers, std::forward<Handler>(handler));
    plain_.async_read_some(buffers, std::forward<Handler>(handler));
  }
  template <class Buffers, class Handler>
  void async_write_some(const Buffers& buffers, Handler&& handler) {
    if (tls_) return tls_->async_write_some(buffers, std::forward<Handler>(handler));
    plain_.async_write_some(buffers, std::forward<Handler>(handler));
  }

 private:
  Plain plain_;
  std::optional<boost::asio::ssl::stream<Plain&>> tls_;
};

}  // namespace dgq::agent
