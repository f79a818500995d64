// registry/key.h - Ed25519 keys (RFC 8032), as files that openssl reads and writes: a private key is PKCS#8 PEM, a public
// one SubjectPublicKeyInfo PEM. Knows nothing of the registry. io: what OpenSSL cannot do here.
#pragma once

#include <array>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

struct evp_pkey_st;

namespace dgq {

struct FreeEvpKey {
  void operator()(evp_pkey_st* key) const noexcept;
};
using EvpKey = std::unique_ptr<evp_pkey_st, FreeEvpKey>;

using SignatureBytes = std::array<std::byte, 64>;  // R and S as in RFC 8032, 5.1.6

struct PublicKey {
  std::array<std::byte, 32> bytes{};

  std::string id() const;  // for people and statements: the first 16 hex digits of SHA-256 of the bytes
  Result<std::string> pem() const;
  // false as well where OpenSSL cannot tell.
  bool verify(std::string_view message, const SignatureBytes& signature) const;

  // `where` starts every message. invalid: a private key, not PEM, not Ed25519.
  static Result<PublicKey> parse(std::string_view pem, const std::string& where);
  static Result<PublicKey> read(const std::filesystem::path& file);
};

// Move-only; its bytes are wiped when it goes.
class PrivateKey {
 public:
  static Result<PrivateKey> generate();
  // invalid: others may read the file (as ssh does), or it is not an Ed25519 key without a passphrase.
  static Result<PrivateKey> read(const std::filesystem::path& file);

  const PublicKey& public_key() const { return public_key_; }
  Result<SignatureBytes> sign(std::string_view message) const;
  // The private key (mode 0600), and the public one beside it, with ".pub" appended. A file that is there is never written
  // over: then neither is made.
  Result<void> write_new(const std::filesystem::path& file) const;

 private:
  PrivateKey(EvpKey key, const PublicKey& public_key);
  static Result<PrivateKey> from(EvpKey key);
  EvpKey key_;
  PublicKey public_key_;
};

// Whether the file says that it holds a private key.
Result<bool> is_private_key_file(const std::filesystem::path& file);

}  // namespace dgq
