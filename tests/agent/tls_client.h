// tests/agent/tls_client.h - certificates made up on the spot, and a client that speaks TLS with them.
#pragma once

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <ctime>
#include <memory>

#include "tests/agent/raw_client.h"
#include "tests/support/tiny_checkpoint.h"

namespace dgq::agent::test {

struct FreeTls {
  void operator()(X509* p) const { ::X509_free(p); }
  void operator()(EVP_PKEY* p) const { ::EVP_PKEY_free(p); }
  void operator()(SSL_CTX* p) const { ::SSL_CTX_free(p); }
  void operator()(SSL* p) const { ::SSL_free(p); }
  void operator()(BIO* p) const { ::BIO_free(p); }
};
template <class T>
using Tls = std::unique_ptr<T, FreeTls>;

// A certificate that signs itself, valid from and to so many seconds from now.
struct Identity {
  explicit Identity(const char* name, long from_s = -60, long to_s = 365 * 86'400L)
      : key(::EVP_EC_gen("P-256")), certificate(::X509_new()) {
    ::X509_set_version(certificate.get(), 2);
    ::ASN1_INTEGER_set(::X509_get_serialNumber(certificate.get()), 1);
    ::X509_gmtime_adj(::X509_getm_notBefore(certificate.get()), from_s);
    ::X509_gmtime_adj(::X509_getm_notAfter(certificate.get()), to_s);
    ::X509_NAME_add_entry_by_txt(::X509_get_subject_name(certificate.get()), "CN", MBSTRING_ASC,
                                 reinterpret_cast<const unsigned char*>(name), -1, -1, 0);
    ::X509_set_issuer_name(certificate.get(), ::X509_get_subject_name(certificate.get()));
    ::X509_set_pubkey(certificate.get(), key.get());
    ::X509_sign(certificate.get(), key.get(), ::EVP_sha256());
  }

  std::string certificate_pem() const {
    return pem([this](BIO* to) { ::PEM_write_bio_X509(to, certificate.get()); });
  }
  std::string key_pem(const char* password = nullptr) const {
    return pem([&](BIO* to) {
      ::PEM_write_bio_PKCS8PrivateKey(to, key.get(), password ? ::EVP_aes_128_cbc() : nullptr, password,
                                      password ? static_cast<int>(std::strlen(password)) : 0, nullptr,
                                      nullptr);
    });
  }
  void write(const std::filesystem::path& certificate_file, const std::filesystem::path& key_file) const {
    dgq::test::write_text(certificate_file, certificate_pem());
    dgq::test::write_text(key_file, key_pem());
    ::chmod(key_file.c_str(), 0600);
  }

  Tls<EVP_PKEY> key;
  Tls<X509> certificate;

 private:
  template <class Write>
  static std::string pem(const Write& write) {
    const Tls<BIO> to(::BIO_new(::BIO_s_mem()));
    write(to.get());
    char* text;
    const long size = ::BIO_get_mem_data(to.get(), &text);
    return {text, static_cast<std::size_t>(size)};
  }
};

class TlsClient {
 public:
  // Trusts this server only. own: what it shows the server. newest: of TLS, 0 for any.
  TlsClient(std::uint16_t port, const Identity& server, const Identity* own = nullptr, int newest = 0)
      : tcp_(port), context_(::SSL_CTX_new(::TLS_client_method())) {
    ::X509_STORE_add_cert(::SSL_CTX_get_cert_store(context_.get()), server.certificate.get());
    ::SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
    ::SSL_CTX_set_security_level(context_.get(), 0);  // so that old versions are offered
    if (newest) ::SSL_CTX_set_max_proto_version(context_.get(), newest);
    if (own) {
      ::SSL_CTX_use_certificate(context_.get(), own->certificate.get());
      ::SSL_CTX_use_PrivateKey(context_.get(), own->key.get());
    }
    ssl_.reset(::SSL_new(context_.get()));
    ::SSL_set_fd(ssl_.get(), tcp_.fd());
    connected_ = ::SSL_connect(ssl_.get()) == 1;
  }
  bool connected() const { return connected_; }
  const char* version() const { return ::SSL_get_version(ssl_.get()); }

  bool send(const std::string& bytes) {
    return ::SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size())) ==
           static_cast<int>(bytes.size());
  }
  // Until the text has come; false: the server closed first.
  bool read_until(const std::string& text) {
    while (received_.find(text) == received_.npos)
      if (!read_more()) return false;
    return true;
  }
  // Until the server closes; ended_well(): it said so.
  std::string read_all() {
    while (read_more()) {
    }
    return std::exchange(received_, {});
  }
  bool ended_well() const { return ::SSL_get_shutdown(ssl_.get()) & SSL_RECEIVED_SHUTDOWN; }
  std::string get(const std::string& path) {
    send("GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    return read_all();
  }
  void say_goodbye() { ::SSL_shutdown(ssl_.get()); }

 private:
  bool read_more() {
    char bytes[16384];
    const int count = ::SSL_read(ssl_.get(), bytes, sizeof bytes);
    if (count <= 0) return false;
    received_.append(bytes, static_cast<std::size_t>(count));
    return true;
  }

  RawClient tcp_;
  Tls<SSL_CTX> context_;
  Tls<SSL> ssl_;
  bool connected_ = false;
  std::string received_;
};

}  // namespace dgq::agent::test
