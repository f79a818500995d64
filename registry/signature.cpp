#include "registry/signature.h"

#include <charconv>
#include <cstring>

#include "registry/manifest.h"

namespace dgq {
namespace {

// Also keeps a signature from being taken for one over something else.
constexpr std::string_view kHead = "dgq signature ", kFormat = "1";
constexpr std::size_t kMaxStatementBytes = 1024;

// The value of the next line, which must start with `label`; empty when it does not.
std::string_view take_line(std::string_view& text, std::string_view label) {
  const std::size_t end = text.find('\n');
  if (end == text.npos || !text.starts_with(label)) return {};
  const std::string_view value = text.substr(label.size(), end - label.size());
  text.remove_prefix(end + 1);
  return value;
}

// 0 when it is not a number; parse() rejects other spellings of one.
std::int64_t number(std::string_view text) {
  std::int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

bool in_range(const Claim& claim) {
  const auto is_time = [](std::int64_t time) { return time >= 0 && time <= kMaxUnixS; };
  return claim.counter >= 1 && claim.counter <= kMaxCounter && is_time(claim.not_before_unix_s) &&
         (!claim.expires_unix_s || is_time(*claim.expires_unix_s)) && claim.key.size() == 16 &&
         claim.key.find_first_not_of("0123456789abcdef") == claim.key.npos;
}

std::string hex(const SignatureBytes& bytes) {
  Digest r, s;  // two halves of 32 bytes
  std::memcpy(r.bytes.data(), bytes.data(), 32);
  std::memcpy(s.bytes.data(), bytes.data() + 32, 32);
  return r.hex() + s.hex();
}

Result<SignatureBytes> parse_hex(std::string_view text, const std::string& where) {
  const auto r = Digest::parse(text.substr(0, 64)),
             s = Digest::parse(text.size() < 64 ? std::string_view() : text.substr(64));
  if (!r || !s) return Error{Errc::corrupt, where + ": \"signature\" must be 128 hex digits"};
  SignatureBytes bytes;
  std::memcpy(bytes.data(), r->bytes.data(), 32);
  std::memcpy(bytes.data() + 32, s->bytes.data(), 32);
  return bytes;
}

Result<Signature> parse_signature(const Json& json, const Digest& version, const std::string& where) {
  if (!json.is_object()) return Error{Errc::corrupt, where + " must be an object"};
  DGQ_TRY(const std::string text, json_string(json, "statement", where));
  DGQ_TRY(const std::string digits, json_string(json, "signature", where));
  Signature signature;
  DGQ_TRY(signature.claim, Claim::parse(text, where));
  DGQ_TRY(signature.bytes, parse_hex(digits, where));
  if (signature.claim.version != version)
    return Error{Errc::corrupt, where + " is of another version, " + signature.claim.version.short_hex()};
  return signature;
}

}  // namespace

std::string Claim::text() const {
  return std::string(kHead) + std::string(kFormat) + "\nversion " + version.hex() + "\nmodel " + model +
         "\ncounter " + std::to_string(counter) + "\nnot-before " + std::to_string(not_before_unix_s) +
         "\nexpires " + (expires_unix_s ? std::to_string(*expires_unix_s) : "never") + "\nkey " + key + "\n";
}

Result<Claim> Claim::parse(std::string_view text, const std::string& where) {
  const Error corrupt{Errc::corrupt, where + ": not a signature statement of dgq"};
  if (text.size() > kMaxStatementBytes) return corrupt;
  std::string_view rest = text;
  const std::string_view format = take_line(rest, kHead);
  if (format.empty()) return corrupt;
  if (format != kFormat)
    return Error{Errc::unsupported, where + ": a signature of another format: made by a newer dgq, upgrade"};
  Claim claim;
  const auto version = Digest::parse(take_line(rest, "version "));
  if (!version) return corrupt;
  claim.version = *version;
  claim.model = take_line(rest, "model ");
  claim.counter = number(take_line(rest, "counter "));
  claim.not_before_unix_s = number(take_line(rest, "not-before "));
  if (const std::string_view expires = take_line(rest, "expires "); expires != "never")
    claim.expires_unix_s = number(expires);
  claim.key = take_line(rest, "key ");
  const auto name = ModelRef::parse(claim.model);
  if (!name || name->model != claim.model || !in_range(claim) || claim.text() != text) return corrupt;
  return claim;
}

Result<Signature> Signature::make(Claim claim, const PrivateKey& key) {
  claim.key = key.public_key().id();
  DGQ_TRY(const SignatureBytes bytes, key.sign(claim.text()));
  return Signature{std::move(claim), bytes};
}

Json signatures_json(const std::vector<Signature>& signatures) {
  Json list = Json::array();
  for (const Signature& signature : signatures)
    list.push_back({{"statement", signature.claim.text()}, {"signature", hex(signature.bytes)}});
  return list;
}

Result<std::vector<Signature>> parse_signatures(const Json& list, const Digest& version,
                                                const std::string& where) {
  if (!list.is_array() || list.size() > kMaxSignatures)
    return Error{Errc::corrupt, where + ": \"signatures\" must be an array of at most " +
                                    std::to_string(kMaxSignatures) + " entries"};
  std::vector<Signature> signatures;
  for (const Json& json : list) {
    DGQ_TRY(Signature signature,
            parse_signature(json, version, where + ": signature " + std::to_string(signatures.size())));
    signatures.push_back(std::move(signature));
  }
  return signatures;
}

}  // namespace dgq
