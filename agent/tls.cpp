#include "agent/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include <boost/asio/ssl/context.hpp>

#include "agent/private_file.h"
#include "base/file.h"
#include "base/time.h"

namespace dgq::agent {
namespace {

constexpr std::size_t kLargestFile = 1 << 20;
constexpr std::int64_t kSoon_s = 14 * 86'400;
constexpr const char* kSuites12 = "ECDHE+AESGCM:ECDHE+CHACHA20";
constexpr unsigned char kSessions[] =
    "dgq";  // sessions are resumed here only, where clients show certificates

struct Free {
  void operator()(BIO* p) const { ::BIO_free(p); }
  void operator()(X509* p) const { ::X509_free(p); }
  void operator()(EVP_PKEY* p) const { ::EVP_PKEY_free(p); }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;

// The oldest of OpenSSL's errors, which is where things went wrong; all are forgotten.
std::string why() {
  const char* reason = ::ERR_reason_error_string(::ERR_get_error());
  ::ERR_clear_error();
  return reason ? reason : "unknown";
}

Error bad(const std::filesystem::path& file, const std::string& what) {
  return {Errc::invalid, file.native() + " " + what};
}

Owned<BIO> reader(const std::string& text) {
  return Owned<BIO>(::BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// Without this OpenSSL asks the terminal.
int no_password(char*, int, int, void*) { return -1; }

Result<std::vector<Owned<X509>>> read_certificates(const std::filesystem::path& file) {
  DGQ_TRY(const std::string text, read_file(file, kLargestFile));
  const Owned<BIO> from = reader(text);
  std::vector<Owned<X509>> found;
  while (X509* one = ::PEM_read_bio_X509(from.get(), nullptr, no_password, nullptr)) found.emplace_back(one);
  const auto error = ::ERR_peek_last_error();
  ::ERR_clear_error();
  if (ERR_GET_REASON(error) != PEM_R_NO_START_LINE)  // which is how the end looks
    return bad(file, "holds a damaged certificate (number " + std::to_string(found.size() + 1) + ")");
  if (found.empty()) return bad(file, "holds no PEM certificate");
  return found;
}

Result<Owned<EVP_PKEY>> read_key(const std::filesystem::path& file) {
  DGQ_CHECK(check_private(file));
  DGQ_TRY(std::string text, read_file(file, kLargestFile));
  const Owned<BIO> from = reader(text);
  Owned<EVP_PKEY> key(::PEM_read_bio_PrivateKey(from.get(), nullptr, no_password, nullptr));
  const bool locked = text.find("ENCRYPTED") != std::string::npos;
  ::OPENSSL_cleanse(text.data(), text.size());
  ::ERR_clear_error();
  if (key) return key;
  return bad(file, locked ? "has a password: store the key without one (openssl pkey -in FILE -out FILE)"
                          : "holds no PEM private key");
}

std::int64_t unix_s(const ASN1_TIME* time) {
  std::tm parts{};
  return ::ASN1_TIME_to_tm(time, &parts) == 1 ? static_cast<std::int64_t>(::timegm(&parts)) : 0;
}

Result<void> ask_for_certificates(SSL_CTX* context, const std::filesystem::path& file) {
  DGQ_TRY(const auto authorities, read_certificates(file));
  for (const auto& authority : authorities)
    if (::X509_STORE_add_cert(::SSL_CTX_get_cert_store(context), authority.get()) != 1 ||
        ::SSL_CTX_add_client_CA(context, authority.get()) != 1)
      return bad(file, "cannot be used: " + why());
  ::SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  return {};
}

}  // namespace

TlsContext::TlsContext()
    : context_(std::make_unique<boost::asio::ssl::context>(boost::asio::ssl::context::tls_server)) {}
TlsContext::~TlsContext() = default;

Result<std::shared_ptr<TlsContext>> TlsContext::load(const TlsFiles& files) {
  DGQ_TRY(const auto chain, read_certificates(files.certificate));
  DGQ_TRY(const auto key, read_key(files.key));
  const std::shared_ptr<TlsContext> tls(new TlsContext);
  SSL_CTX* context = tls->context_->native_handle();
  ::SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  ::SSL_CTX_set_options(context,
                        SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  ::SSL_CTX_set_cipher_list(context, kSuites12);
  ::SSL_CTX_set_session_id_context(context, kSessions, sizeof kSessions);
  if (::SSL_CTX_use_certificate(context, chain.front().get()) != 1)
    return bad(files.certificate, "cannot be used: " + why());
  for (std::size_t i = 1; i < chain.size(); ++i)
    if (::SSL_CTX_add1_chain_cert(context, chain[i].get()) != 1)
      return bad(files.certificate, "cannot be used: " + why());
  if (::X509_check_private_key(chain.front().get(), key.get()) != 1) {
    ::ERR_clear_error();
    return bad(files.key, "is not the key of the first certificate in " + files.certificate.native());
  }
  if (::SSL_CTX_use_PrivateKey(context, key.get()) != 1) return bad(files.key, "cannot be used: " + why());
  if (!files.client_ca.empty()) DGQ_CHECK(ask_for_certificates(context, files.client_ca));
  tls->begins_unix_s_ = unix_s(::X509_get0_notBefore(chain.front().get()));
  tls->expires_unix_s_ = unix_s(::X509_get0_notAfter(chain.front().get()));
  return tls;
}

std::string TlsContext::date_warning(std::int64_t now_unix_s) const {
  if (now_unix_s < begins_unix_s_)
    return "the certificate is valid from " + utc_time(begins_unix_s_) + " on only";
  if (now_unix_s >= expires_unix_s_) return "the certificate has expired at " + utc_time(expires_unix_s_);
  if (now_unix_s + kSoon_s >= expires_unix_s_)
    return "the certificate expires at " + utc_time(expires_unix_s_);
  return {};
}

}  // namespace dgq::agent
