// registry/signature.h - what a signature of a version says, and the bytes that carry it (docs/REGISTRY.md, Signatures).
// Knows neither files nor the registry.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/json.h"
#include "registry/key.h"

namespace dgq {

inline constexpr std::int64_t kMaxCounter = 999'999'999'999'999;  // exact as a double, for JSON readers
inline constexpr std::int64_t kMaxUnixS = 253'402'300'799;        // the last second of the year 9999
inline constexpr std::size_t kMaxSignatures = 64;                 // of one version

// What is signed: these lines, each ended by a line feed.
//   dgq signature 1
//   version <64 hex digits: SHA-256 of the manifest>
//   model <name, without tag>
//   counter <1..kMaxCounter>
//   not-before <Unix seconds>
//   expires <Unix seconds, or "never">
//   key <16 hex digits: the id of the key that signs>
struct Claim {
  Digest version;
  std::string model;
  std::int64_t counter = 1;
  std::int64_t not_before_unix_s = 0;
  std::optional<std::int64_t> expires_unix_s;
  std::string key;

  std::string text() const;
  // Takes no other spelling than text() gives. corrupt; unsupported: another format number.
  static Result<Claim> parse(std::string_view text, const std::string& where);
};

struct Signature {
  Claim claim;
  SignatureBytes bytes{};  // Ed25519 over claim.text()

  static Result<Signature> make(Claim claim, const PrivateKey& key);  // sets claim.key
};

// [{"statement": text, "signature": 128 hex digits}, ...] of one version, as bundles and OCI layouts have it.
Json signatures_json(const std::vector<Signature>& signatures);
// At most kMaxSignatures, all of `version`. Nothing is verified: that takes a key.
Result<std::vector<Signature>> parse_signatures(const Json& list, const Digest& version,
                                                const std::string& where);

}  // namespace dgq
