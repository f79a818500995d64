// agent/tls.h - the certificate that the server shows, and what it asks of clients (OpenSSL).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"

namespace boost::asio::ssl {
class context;
}

namespace dgq::agent {

struct TlsFiles {
  std::filesystem::path certificate;  // PEM: the server's, then those between it and its root
  std::filesystem::path key;          // PEM, without a password; its owner's only (0600)
  std::filesystem::path client_ca;    // PEM; empty: clients need no certificate
};

// TLS 1.2 or newer; of 1.2 only suites with forward secrecy and authenticated encryption.
class TlsContext {
 public:
  // Errors name the file and say what is wrong with it: not there, no PEM, open to others, a key with a
  // password, a key of another certificate.
  static Result<std::shared_ptr<TlsContext>> load(const TlsFiles& files);
  ~TlsContext();

  std::int64_t expires_unix_s() const { return expires_unix_s_; }
  // Why clients refuse the certificate at that time, or soon will; empty: they have no reason in its dates.
  std::string date_warning(std::int64_t now_unix_s) const;

  boost::asio::ssl::context& context() { return *context_; }

 private:
  TlsContext();
  const std::unique_ptr<boost::asio::ssl::context> context_;
  std::int64_t begins_unix_s_ = 0, expires_unix_s_ = 0;
};

}  // namespace dgq::agent
