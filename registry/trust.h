// registry/trust.h - whose signatures a registry believes, and which versions it therefore lets run (docs/REGISTRY.md,
// Signatures).
#pragma once

#include <map>
#include <optional>
#include <span>

#include "registry/registry.h"
#include "registry/signature.h"

namespace dgq {

// What happens to a version that no trusted signature speaks for, when it is loaded to be run, or a name is moved to it:
// nothing; a warning; an Error.
enum class Policy { off, warn, enforce };
const char* to_text(Policy policy);
Result<Policy> parse_policy(std::string_view text);

struct TrustedKey {
  PublicKey key;
  std::string id, name;  // name: whose it is, for people; may be empty
  std::int64_t added_unix_s = 0;
  std::optional<std::int64_t> revoked_unix_s;
};

struct SignatureInfo {
  enum class Standing { good, unknown_key, revoked_key, forged, not_yet_valid, expired };
  Signature signature;
  Standing standing;
  std::string signer;  // the key's name, or its id
};
const char* to_text(SignatureInfo::Standing standing);

// What the signatures of a version are worth for one model name.
struct Verdict {
  bool trusted = false;
  std::string signer;        // of the trusted one with the highest counter
  std::int64_t counter = 0;  // the same; 0: none
  std::optional<std::int64_t> expires_unix_s;
  std::string why_not;  // when not trusted: "it has no signature"
};

// What a registry believes, at one moment.
struct Trust {
  Policy policy = Policy::off;
  std::vector<TrustedKey> keys;                  // revoked ones as well
  std::map<std::string, std::int64_t> accepted;  // per model: the highest counter that was ever run
  std::int64_t now_unix_s = 0;                   // the clock, or what the audit log has seen if that is later
  std::string clock_note;                        // when they differ by more than a day; else empty

  const TrustedKey* find(std::string_view id) const;
  SignatureInfo examine(Signature signature) const;
  // floor: counters below it count for nothing, nor do those below what was accepted.
  Verdict judge(std::span<const SignatureInfo> signatures, const std::string& model,
                std::int64_t floor = 0) const;
};

Result<Trust> read_trust(Registry& registry);
using Signatures = std::map<Digest, std::vector<SignatureInfo>>;  // by version, in the order of their storing
Result<Signatures> all_signatures(Registry& registry, const Trust& trust);
Result<std::vector<SignatureInfo>> signatures_of(Registry& registry, const Trust& trust,
                                                 const Digest& version);

// These change the registry, each with an audit row.
Result<void> set_policy(Registry& registry, Policy policy);
// A key that is trusted already gets the name, unless that is empty. invalid: it was revoked, which is for good.
Result<TrustedKey> trust_key(Registry& registry, const PublicKey& key, const std::string& name);
Result<void> revoke_key(Registry& registry, std::string_view id);

struct SignOptions {
  std::optional<std::int64_t>
      counter;  // default: the highest known for the model and 1; never below the highest
  std::optional<std::int64_t> not_before_unix_s;  // default: now
  std::optional<std::int64_t> expires_unix_s;     // default: never
};
// reference: as Registry::resolve takes it; the model is that of the name, which a digest must leave no doubt about.
Result<Claim> sign_version(Registry& registry, std::string_view reference, const PrivateKey& key,
                           const SignOptions& options);

// The model names that a reference to the version stands for: that of the name, or, for a digest, those of all its names.
std::vector<std::string> models_named(const VersionInfo& version, std::string_view reference);

// A version that the policy lets run.
struct Usable {
  VersionInfo version;
  std::vector<std::string> warnings;  // one line each, to be shown
  std::string model;                  // with `counter`: what remember() stores
  std::int64_t counter = 0;           // 0: nothing
};
struct UseRules {
  Policy least = Policy::off;  // the registry's policy, or this one where it is stricter
  std::string model = {};      // whose signatures count; empty: models_named(). For versions that may have lost their names
  bool ran_before = false;     // this registry ran it and goes back to it, which its owner may: counters do not matter
};
// As Registry::resolve, for what is to be run; untrusted: the policy refuses it. Every reader that runs a model comes through here.
Result<Usable> resolve_to_use(Registry& registry, std::string_view reference, const UseRules& rules = {});
// Say when the version has loaded: lower counters of its model are refused from now on. Also with a registry that was opened
// for reading; where its file cannot be written nothing is remembered.
Result<void> remember_use(Registry& registry, const Usable& used);

}  // namespace dgq
