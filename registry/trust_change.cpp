// registry/trust_change.cpp - what changes trust: keys, policy, signatures, counters; and what the policy says to changes.
#include <unistd.h>

#include <algorithm>

#include "registry/audit.h"
#include "registry/schema.h"
#include "registry/state.h"
#include "registry/trust_rows.h"

namespace dgq {

using sqlite::Transaction;

namespace {

constexpr std::size_t kMaxKeyName = 128;

Result<Transaction> begin_change(Registry::State& registry) {
  DGQ_CHECK(registry.require_writable());
  return Transaction::begin(*registry.db, Transaction::Kind::write);
}

std::string describe(const Claim& said) {
  return said.model + ", counter " + std::to_string(said.counter) + ", key " + said.key;
}

Error not_signed(const std::string& name, const Digest& version, const Verdict& verdict) {
  return {Errc::untrusted, name + " cannot become version " + version.short_hex() + ": " + verdict.why_not +
                               " (policy enforce; sign it: dgq registry sign)"};
}

std::string warning_of(const ModelRef& name, const Digest& version, const Verdict& verdict) {
  return name.text() + " (" + version.short_hex() + "): " + verdict.why_not + " (policy warn)";
}

Error forged(const Signature& signature) {
  return {Errc::corrupt, "a signature of version " + signature.claim.version.short_hex() + " is not by key " +
                             signature.claim.key + ", which it names: forged or damaged"};
}

// Those of the version that are stored, and `more`.
Result<std::vector<SignatureInfo>> with_stored(sqlite::Db& db, const Trust& trust, const Digest& version,
                                               const std::vector<Signature>& more) {
  DGQ_TRY(std::vector<SignatureInfo> all, stored_signatures(db, trust, version));
  for (const Signature& signature : more) {
    all.push_back(trust.examine(signature));
    if (all.back().standing == SignatureInfo::Standing::forged) return forged(signature);
  }
  return all;
}

Result<void> accept(sqlite::Db& db, const std::string& model, std::int64_t counter,
                    const std::optional<Digest>& version) {
  DGQ_CHECK(
      db.run("INSERT INTO accepted(model, counter) VALUES (?, ?) ON CONFLICT(model) "
             "DO UPDATE SET counter = max(counter, excluded.counter)",
             model, counter));
  return write_audit(db, "accept", model + ", counter " + std::to_string(counter), std::nullopt, version);
}

// Highest counter of a model, of signatures by keys that are known, and of what was run. Signatures by unknown keys may
// say anything.
Result<std::int64_t> highest_counter(Registry& registry, const Trust& trust, const std::string& model) {
  using Standing = SignatureInfo::Standing;
  std::int64_t highest = 0;
  if (const auto found = trust.accepted.find(model); found != trust.accepted.end()) highest = found->second;
  DGQ_TRY(const Signatures signatures, all_signatures(registry, trust));
  for (const auto& [version, list] : signatures)
    for (const SignatureInfo& info : list)
      if (info.signature.claim.model == model && info.standing != Standing::unknown_key &&
          info.standing != Standing::forged)
        highest = std::max(highest, info.signature.claim.counter);
  return highest;
}

Result<std::int64_t> choose_counter(std::int64_t highest, const std::optional<std::int64_t>& wanted,
                                    const std::string& model) {
  const std::int64_t counter = wanted.value_or(highest + 1);
  if (counter < 1 || counter > kMaxCounter)
    return Error{Errc::invalid, "the counter must be from 1 to " + std::to_string(kMaxCounter)};
  if (counter < highest)
    return Error{Errc::invalid, "counter " + std::to_string(counter) + " is below " +
                                    std::to_string(highest) + ", the highest known of model " + model +
                                    ": who has that one would refuse this version"};
  return counter;
}

Result<void> check_times(const Claim& said, std::int64_t now) {
  const auto outside = [](std::int64_t time) { return time < 0 || time > kMaxUnixS; };
  if (outside(said.not_before_unix_s) || (said.expires_unix_s && outside(*said.expires_unix_s)))
    return Error{Errc::invalid, "the times of a signature must be from 1970 to 9999"};
  if (said.expires_unix_s && *said.expires_unix_s <= std::max(now, said.not_before_unix_s))
    return Error{Errc::invalid, "the signature would be over before it begins: choose a later expiry"};
  return {};
}

// What a key is about to sign; its own counters are known to `trust`.
Result<Claim> make_claim(Registry& registry, const Trust& trust, const VersionInfo& version,
                         std::string_view reference, const SignOptions& options) {
  const std::vector<std::string> models = models_named(version, reference);
  if (models.size() > 1)
    return Error{Errc::invalid, "version " + version.digest.short_hex() + " has names of the models " +
                                    models[0] + " and " + models[1] + ": sign it by one of its names"};
  Claim said;
  said.version = version.digest;
  said.model = models.front();
  DGQ_TRY(const std::int64_t highest, highest_counter(registry, trust, said.model));
  DGQ_TRY(said.counter, choose_counter(highest, options.counter, said.model));
  said.not_before_unix_s = options.not_before_unix_s.value_or(unix_now_s());
  said.expires_unix_s = options.expires_unix_s;
  DGQ_CHECK(check_times(said, unix_now_s()));
  return said;
}

}  // namespace

Result<void> store_signatures(sqlite::Db& db, std::int64_t version, std::span<const Signature> signatures,
                              const char* action) {
  if (signatures.empty()) return {};
  DGQ_TRY(const Trust trust, read_trust(db));
  for (const Signature& signature : signatures) {
    if (trust.examine(signature).standing == SignatureInfo::Standing::forged) return forged(signature);
    const std::string text = signature.claim.text();
    DGQ_TRY(const auto known,
            db.find_integer("SELECT 1 FROM signature WHERE version = ? AND statement = ? AND signature = ?",
                            version, text, std::span(signature.bytes)));
    if (known) continue;
    DGQ_CHECK(db.run("INSERT INTO signature(version, statement, signature, added) VALUES (?, ?, ?, ?)",
                     version, text, std::span(signature.bytes), unix_now_s()));
    DGQ_CHECK(write_audit(db, action, describe(signature.claim), std::nullopt, signature.claim.version));
  }
  DGQ_TRY(const std::int64_t all, db.integer("SELECT count(*) FROM signature WHERE version = ?", version));
  if (all > static_cast<std::int64_t>(kMaxSignatures))
    return Error{Errc::invalid, "version " + signatures.front().claim.version.short_hex() +
                                    " would have more than " + std::to_string(kMaxSignatures) +
                                    " signatures"};
  return {};
}

Result<std::string> require_trusted(sqlite::Db& db, const ModelRef& name, const std::optional<Digest>& from,
                                    const Digest& to) {
  DGQ_TRY(const Trust trust, read_trust(db));
  if (trust.policy == Policy::off) return std::string();
  std::int64_t floor = 0;  // also what the name has now, though it was never run
  if (from) {
    DGQ_TRY(const std::vector<SignatureInfo> before, stored_signatures(db, trust, *from));
    floor = trust.judge(before, name.model).counter;
  }
  DGQ_TRY(const std::vector<SignatureInfo> signatures, stored_signatures(db, trust, to));
  const Verdict verdict = trust.judge(signatures, name.model, floor);
  if (verdict.trusted) return std::string();
  if (trust.policy == Policy::enforce) return not_signed(name.text(), to, verdict);
  return warning_of(name, to, verdict);
}

Result<void> carry_accepted(sqlite::Db& db, const std::string& from, const std::string& to) {
  DGQ_TRY(const auto counter, db.find_integer("SELECT counter FROM accepted WHERE model = ?1 AND counter > "
                                              "coalesce((SELECT counter FROM accepted WHERE model = ?2), 0)",
                                              from, to));
  return counter ? accept(db, to, *counter, std::nullopt) : Result<void>();
}

Result<std::vector<std::string>> check_import(sqlite::Db& db, const BundleContents& contents) {
  DGQ_TRY(Transaction snapshot, Transaction::begin(db, Transaction::Kind::read));
  DGQ_TRY(const Trust trust, read_trust(db));
  std::vector<std::string> warnings;
  for (const BundleVersion& version : contents.versions) {
    DGQ_TRY(const auto signatures, with_stored(db, trust, version.digest, version.signatures));
    if (trust.policy == Policy::off) continue;
    for (const ModelRef& name : version.names) {
      const Verdict verdict = trust.judge(signatures, name.model);
      if (verdict.trusted) continue;
      if (trust.policy == Policy::enforce) return not_signed(name.text(), version.digest, verdict);
      warnings.push_back(warning_of(name, version.digest, verdict));
    }
  }
  if (trust.policy != Policy::off && !trust.clock_note.empty()) warnings.push_back(trust.clock_note);
  return warnings;
}

Result<void> set_policy(Registry& registry, Policy policy) {
  sqlite::Db& db = *registry.state().db;
  DGQ_TRY(Transaction transaction, begin_change(registry.state()));
  DGQ_TRY(const Trust before, read_trust(db));
  if (before.policy == policy) return {};
  DGQ_CHECK(db.run("INSERT OR REPLACE INTO setting(name, value) VALUES ('policy', ?)",
                   std::string_view(to_text(policy))));
  DGQ_CHECK(write_audit(db, "policy",
                        std::string("from ") + to_text(before.policy) + " to " + to_text(policy),
                        std::nullopt, std::nullopt));
  return transaction.commit();
}

Result<TrustedKey> trust_key(Registry& registry, const PublicKey& key, const std::string& name) {
  if (name.size() > kMaxKeyName ||
      std::any_of(name.begin(), name.end(), [](unsigned char c) { return c < ' ' || c == 127; }))
    return Error{Errc::invalid, "the name of a key is at most " + std::to_string(kMaxKeyName) +
                                    " bytes of text on one line"};
  sqlite::Db& db = *registry.state().db;
  DGQ_TRY(Transaction transaction, begin_change(registry.state()));
  DGQ_TRY(const Trust before, read_trust(db));
  const std::string id = key.id();
  if (const TrustedKey* known = before.find(id)) {
    if (known->key.bytes != key.bytes)
      return Error{Errc::invalid,
                   "another key with the id " + id + " is there: make another with dgq key new"};
    if (known->revoked_unix_s)
      return Error{Errc::invalid,
                   "key " + id + " was revoked, which is for good: make another with dgq key new"};
    if (name.empty() || name == known->name) return *known;
  }
  DGQ_CHECK(
      db.run("INSERT INTO trusted_key(public_key, name, added) VALUES (?, ?, ?) "
             "ON CONFLICT(public_key) DO UPDATE SET name = excluded.name",
             std::span(key.bytes), name, unix_now_s()));
  DGQ_CHECK(
      write_audit(db, "trust", "key " + id + (name.empty() ? "" : ", " + name), std::nullopt, std::nullopt));
  DGQ_TRY(const Trust after, read_trust(db));
  DGQ_CHECK(transaction.commit());
  return *after.find(id);
}

Result<void> revoke_key(Registry& registry, std::string_view id) {
  sqlite::Db& db = *registry.state().db;
  DGQ_TRY(Transaction transaction, begin_change(registry.state()));
  DGQ_TRY(const Trust trust, read_trust(db));
  const TrustedKey* key = trust.find(id);
  if (!key)
    return Error{Errc::not_found, "no key '" + std::string(id.substr(0, 40)) + "' in registry " +
                                      registry.path().string() + "; see dgq key list"};
  if (key->revoked_unix_s) return {};
  DGQ_CHECK(db.run("UPDATE trusted_key SET revoked = ? WHERE public_key = ?", unix_now_s(),
                   std::span(key->key.bytes)));
  DGQ_CHECK(write_audit(db, "revoke", "key " + key->id, std::nullopt, std::nullopt));
  return transaction.commit();
}

Result<Claim> sign_version(Registry& registry, std::string_view reference, const PrivateKey& key,
                           const SignOptions& options) {
  sqlite::Db& db = *registry.state().db;
  DGQ_CHECK(registry.state().require_writable());
  DGQ_TRY(const VersionInfo version, registry.resolve(reference));
  DGQ_TRY(Transaction transaction, begin_change(registry.state()));
  DGQ_TRY(Trust trust, read_trust(db));
  const std::string id = key.public_key().id();
  const TrustedKey* known = trust.find(id);
  if (known && known->revoked_unix_s)
    return Error{Errc::invalid, "key " + id + " was revoked in registry " + registry.path().string()};
  if (!known) trust.keys.push_back({key.public_key(), id, "", 0, {}});  // its own counters count
  DGQ_TRY(Claim claim, make_claim(registry, trust, version, reference, options));
  DGQ_TRY(const auto row, db.find_integer("SELECT id FROM version WHERE digest = ?", version.digest));
  if (!row) return Error{Errc::not_found, std::string(reference) + " was removed meanwhile"};
  DGQ_TRY(const Signature signature, Signature::make(std::move(claim), key));
  DGQ_CHECK(store_signatures(db, *row, std::span(&signature, 1), "sign"));
  DGQ_CHECK(transaction.commit());
  return signature.claim;
}

Result<void> remember_use(Registry& registry, const Usable& used) {
  if (used.counter == 0) return {};
  DGQ_TRY(const Trust before, read_trust(registry));
  const auto found = before.accepted.find(used.model);
  if (found != before.accepted.end() && found->second >= used.counter) return {};
  if (::access(registry.path().c_str(), W_OK) != 0) return {};
  DGQ_TRY(const auto db, open_database(registry.path(), true, false));
  DGQ_TRY(Transaction transaction, Transaction::begin(*db, Transaction::Kind::write));
  DGQ_CHECK(accept(*db, used.model, used.counter, used.version.digest));
  return transaction.commit();
}

}  // namespace dgq
