#include "registry/key.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <span>

#include "base/digest.h"
#include "base/file.h"

namespace dgq {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kMaxFileBytes = 16 << 10;
constexpr std::string_view kPrivate = "PRIVATE KEY-----", kEncrypted = "ENCRYPTED";

struct FreeBio {
  void operator()(BIO* bio) const noexcept { BIO_free_all(bio); }
};
using Bio = std::unique_ptr<BIO, FreeBio>;

struct FreeContext {
  void operator()(EVP_MD_CTX* context) const noexcept { EVP_MD_CTX_free(context); }
};
using Context = std::unique_ptr<EVP_MD_CTX, FreeContext>;

const unsigned char* raw(const std::byte* bytes) { return reinterpret_cast<const unsigned char*>(bytes); }

Error openssl_failed(const char* what) {
  ERR_clear_error();  // OpenSSL's own lines are for programmers
  return {Errc::io, std::string("OpenSSL cannot ") + what +
                        " (no memory, no random numbers, or a build without Ed25519)"};
}

Result<Bio> reader_of(std::string_view text) {
  Bio bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  if (!bio) return openssl_failed("read a key");
  return bio;
}

std::string_view text_in(const Bio& bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

// What a PEM reader gave, if that is an Ed25519 key.
Result<EvpKey> require_ed25519(EvpKey key, const std::string& where, const char* kind) {
  ERR_clear_error();
  if (!key)
    return Error{Errc::invalid, where + " is not a " + kind + " key in PEM form; make a pair: dgq key new"};
  if (EVP_PKEY_get_id(key.get()) != EVP_PKEY_ED25519)
    return Error{Errc::invalid, where + " is not an Ed25519 key; make a pair: dgq key new"};
  return key;
}

Result<PublicKey> public_part(const EvpKey& key) {
  PublicKey out;
  std::size_t size = out.bytes.size();
  if (EVP_PKEY_get_raw_public_key(key.get(), reinterpret_cast<unsigned char*>(out.bytes.data()), &size) != 1)
    return openssl_failed("take the public part of a key");
  return out;
}

EvpKey evp_key(const PublicKey& key) {
  return EvpKey(
      EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, raw(key.bytes.data()), key.bytes.size()));
}

// The text of a file, wiped when it goes: it may be a private key.
struct KeyText {
  std::string text;
  mode_t mode = 0;
  KeyText() = default;
  KeyText(KeyText&&) = default;
  KeyText& operator=(KeyText&&) = delete;
  ~KeyText() { OPENSSL_cleanse(text.data(), text.size()); }
  bool has(std::string_view word) const { return text.find(word) != text.npos; }
};

// Mode and text of the same opened file.
Result<KeyText> read_key_file(const fs::path& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return errno_error("open", path, errno);
  struct stat info;
  if (::fstat(fd.get(), &info) != 0) return errno_error("stat", path, errno);
  if (!S_ISREG(info.st_mode) || static_cast<std::size_t>(info.st_size) > kMaxFileBytes)
    return Error{Errc::invalid, path.string() + " is not a key: not a file of at most 16 KiB"};
  KeyText key;
  key.mode = info.st_mode;
  key.text.resize(kMaxFileBytes);
  std::size_t done = 0;
  while (done < key.text.size()) {
    DGQ_TRY(const std::size_t got,
            read_some(fd.get(), std::as_writable_bytes(std::span(key.text).subspan(done)), path));
    if (got == 0) break;
    done += got;
  }
  key.text.resize(done);
  return key;
}

Result<void> write_new_file(const fs::path& path, std::string_view text, mode_t mode) {
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  if (!fd && errno == EEXIST)
    return Error{Errc::invalid, path.string() + " is there already: keys are never written over"};
  if (!fd) return errno_error("create", path, errno);
  auto written = write_all(fd.get(), std::as_bytes(std::span(text)), path);
  if (written && ::fsync(fd.get()) != 0) written = errno_error("sync", path, errno);
  if (!written) ::unlink(path.c_str());
  return written;
}

}  // namespace

void FreeEvpKey::operator()(evp_pkey_st* key) const noexcept { EVP_PKEY_free(key); }

std::string PublicKey::id() const { return sha256(bytes).hex().substr(0, 16); }

Result<std::string> PublicKey::pem() const {
  const EvpKey key = evp_key(*this);
  const Bio bio(BIO_new(BIO_s_mem()));
  if (!key || !bio || PEM_write_bio_PUBKEY(bio.get(), key.get()) != 1)
    return openssl_failed("write a public key");
  return std::string(text_in(bio));
}

bool PublicKey::verify(std::string_view message, const SignatureBytes& signature) const {
  const EvpKey key = evp_key(*this);
  const Context context(EVP_MD_CTX_new());
  const bool good =
      key && context && EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1 &&
      EVP_DigestVerify(context.get(), raw(signature.data()), signature.size(),
                       reinterpret_cast<const unsigned char*>(message.data()), message.size()) == 1;
  ERR_clear_error();
  return good;
}

Result<PublicKey> PublicKey::parse(std::string_view pem, const std::string& where) {
  if (pem.find(kPrivate) != pem.npos)
    return Error{
        Errc::invalid,
        where + " holds a private key: it stays with its owner; give the public one, " + where + ".pub"};
  DGQ_TRY(const Bio reader, reader_of(pem));
  EvpKey parsed(PEM_read_bio_PUBKEY(reader.get(), nullptr, nullptr, nullptr));
  DGQ_TRY(const EvpKey key, require_ed25519(std::move(parsed), where, "public"));
  return public_part(key);
}

Result<PublicKey> PublicKey::read(const fs::path& file) {
  DGQ_TRY(const KeyText key, read_key_file(file));
  return parse(key.text, file.string());
}

PrivateKey::PrivateKey(EvpKey key, const PublicKey& public_key)
    : key_(std::move(key)), public_key_(public_key) {}

Result<PrivateKey> PrivateKey::from(EvpKey key) {
  DGQ_TRY(const PublicKey public_key, public_part(key));
  return PrivateKey(std::move(key), public_key);
}

Result<PrivateKey> PrivateKey::generate() {
  EvpKey key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  if (!key) return openssl_failed("make a key");
  return from(std::move(key));
}

Result<PrivateKey> PrivateKey::read(const fs::path& file) {
  DGQ_TRY(const KeyText text, read_key_file(file));
  const std::string where = file.string();
  if (!text.has(kPrivate)) return Error{Errc::invalid, where + " holds no private key in PEM form"};
  if ((text.mode & 077) != 0)
    return Error{
        Errc::invalid,
        where + ": others may read or write this private key; not used. Mend it: chmod 600 " + where};
  if (text.has(kEncrypted))
    return Error{Errc::unsupported, where + " has a passphrase; take it off: openssl pkey -in " + where +
                                        " -out NEW (mode 0600)"};
  const auto no_passphrase = [](char*, int, int, void*) { return -1; };  // never asks the terminal
  DGQ_TRY(const Bio reader, reader_of(text.text));
  EvpKey parsed(PEM_read_bio_PrivateKey(reader.get(), nullptr, no_passphrase, nullptr));
  DGQ_TRY(EvpKey key, require_ed25519(std::move(parsed), where, "private"));
  return from(std::move(key));
}

Result<SignatureBytes> PrivateKey::sign(std::string_view message) const {
  SignatureBytes signature;
  std::size_t size = signature.size();
  const Context context(EVP_MD_CTX_new());
  if (!context || EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key_.get()) != 1 ||
      EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size,
                     reinterpret_cast<const unsigned char*>(message.data()), message.size()) != 1)
    return openssl_failed("sign");
  return signature;
}

Result<void> PrivateKey::write_new(const fs::path& file) const {
  const Bio bio(BIO_new(BIO_s_secmem()));  // wiped when it is freed
  if (!bio ||
      PEM_write_bio_PKCS8PrivateKey(bio.get(), key_.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1)
    return openssl_failed("write a private key");
  DGQ_TRY(const std::string public_pem, public_key_.pem());
  // The public one first: a private key without it would be the one that is hard to tell from others.
  const fs::path beside = file.string() + ".pub";
  DGQ_CHECK(write_new_file(beside, public_pem, 0644));
  auto written = write_new_file(file, text_in(bio), 0600);
  if (!written) ::unlink(beside.c_str());
  DGQ_CHECK(written);
  return sync_folder(file.parent_path());
}

Result<bool> is_private_key_file(const fs::path& file) {
  DGQ_TRY(const KeyText text, read_key_file(file));
  return text.has(kPrivate);
}

}  // namespace dgq
