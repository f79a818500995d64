#include "registry/trust.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "base/time.h"
#include "registry/audit.h"
#include "registry/state.h"
#include "registry/trust_rows.h"

namespace dgq {

using sqlite::Statement;
using sqlite::Transaction;

namespace {

constexpr const char* kPolicies[] = {"off", "warn", "enforce"};  // by Policy

constexpr std::int64_t kClockSetBackS = 24 * 3600;  // what a wrong time zone can make of a clock
constexpr std::int64_t kClockSkewS = 300;  // a version may arrive from a machine whose clock is ahead

Result<std::vector<TrustedKey>> read_keys(sqlite::Db& db) {
  DGQ_TRY(Statement rows,
          db.query("SELECT public_key, name, added, revoked FROM trusted_key ORDER BY added"));
  std::vector<TrustedKey> keys;
  while (true) {
    DGQ_TRY(const bool row, rows.step());
    if (!row) return keys;
    TrustedKey key;
    if (rows.blob(0).size() != key.key.bytes.size())
      return Error{Errc::corrupt, "a trusted key in the registry is not 32 bytes long"};
    std::memcpy(key.key.bytes.data(), rows.blob(0).data(), key.key.bytes.size());
    key.id = key.key.id();
    key.name = rows.text(1);
    key.added_unix_s = rows.integer(2);
    if (!rows.is_null(3)) key.revoked_unix_s = rows.integer(3);
    keys.push_back(std::move(key));
  }
}

Result<std::map<std::string, std::int64_t>> read_accepted(sqlite::Db& db) {
  DGQ_TRY(Statement rows, db.query("SELECT model, counter FROM accepted"));
  std::map<std::string, std::int64_t> accepted;
  while (true) {
    DGQ_TRY(const bool row, rows.step());
    if (!row) return accepted;
    accepted.emplace(rows.text(0), rows.integer(1));
  }
}

Result<Policy> read_policy(sqlite::Db& db) {
  DGQ_TRY(Statement row, db.query("SELECT value FROM setting WHERE name = 'policy'"));
  DGQ_TRY(const bool found, row.step());
  return found ? parse_policy(row.text(0)) : Policy::off;
}

Result<void> read_clock(sqlite::Db& db, Trust& trust) {
  const std::int64_t clock = unix_now_s();
  DGQ_TRY(const std::int64_t seen, db.integer("SELECT coalesce(max(time), 0) FROM audit"));
  trust.now_unix_s = std::max(clock, seen);
  if (seen > clock + kClockSetBackS)
    trust.clock_note = "the clock says " + utc_time(clock) + ", but this registry has seen " +
                       utc_time(seen) + " (it was set back?): signatures are judged by the later time";
  return {};
}

// Of a row of for_each_signature().
Result<Signature> read_signature(const Statement& row) {
  DGQ_TRY(const Digest version, row.digest(0));
  const std::string where = "a stored signature of version " + version.short_hex();
  Signature signature;
  DGQ_TRY(signature.claim, Claim::parse(row.text(1), where));
  const auto bytes = row.blob(2);
  if (signature.claim.version != version || bytes.size() != signature.bytes.size())
    return Error{Errc::corrupt, where + " is not of this version"};
  std::memcpy(signature.bytes.data(), bytes.data(), bytes.size());
  return signature;
}

// Those of one version, or all, in the order of their storing; sink takes a Result<Signature>.
template <class Sink>
Result<void> for_each_signature(sqlite::Db& db, const std::optional<Digest>& version, const Sink& sink) {
  const std::string sql = std::string(
                              "SELECT v.digest, s.statement, s.signature FROM signature s "
                              "JOIN version v ON v.id = s.version WHERE ") +
                          (version ? "v.digest = ?1" : "?1 IS NULL") +
                          " ORDER BY s.added, s.statement, s.signature";
  DGQ_TRY(Statement rows, db.query(sql.c_str(), version));
  while (true) {
    DGQ_TRY(const bool row, rows.step());
    if (!row) return {};
    DGQ_CHECK(sink(read_signature(rows)));
  }
}

SignatureInfo::Standing standing_of(const Signature& signature, const TrustedKey* key, std::int64_t now) {
  using Standing = SignatureInfo::Standing;
  const Claim& said = signature.claim;
  if (!key) return Standing::unknown_key;
  if (!key->key.verify(said.text(), signature.bytes)) return Standing::forged;
  if (key->revoked_unix_s) return Standing::revoked_key;
  if (said.not_before_unix_s > now + kClockSkewS) return Standing::not_yet_valid;
  if (said.expires_unix_s && *said.expires_unix_s <= now) return Standing::expired;
  return Standing::good;
}

// Why a signature counts for nothing; empty when it counts.
std::string fault_of(const SignatureInfo& info, const std::string& model, std::int64_t floor) {
  using Standing = SignatureInfo::Standing;
  const Claim& said = info.signature.claim;
  switch (info.standing) {
    case Standing::unknown_key:
      return "is not trusted here";
    case Standing::revoked_key:
      return "was revoked";
    case Standing::forged:
      return "did not make this signature";
    case Standing::not_yet_valid:
      return "signed for " + utc_time(said.not_before_unix_s) + " and later";
    case Standing::expired:
      return "signed until " + utc_time(*said.expires_unix_s) + ", which is over";
    case Standing::good:
      break;
  }
  if (said.model != model) return "signed it as model " + said.model + ", not " + model;
  if (said.counter < floor)
    return "signed it with counter " + std::to_string(said.counter) + ", but " + std::to_string(floor) +
           " was accepted already: an older version";
  return {};
}

std::string some_of(const std::set<std::string>& faults) {
  constexpr int kShown = 4;
  std::string text;
  int shown = 0;
  for (const std::string& fault : faults)
    if (++shown <= kShown) text += (shown == 1 ? "" : "; ") + fault;
  return text + (shown > kShown ? "; and " + std::to_string(shown - kShown) + " more" : "");
}

}  // namespace

const char* to_text(Policy policy) { return kPolicies[static_cast<int>(policy)]; }

Result<Policy> parse_policy(std::string_view text) {
  for (int i = 0; i < 3; ++i)
    if (text == kPolicies[i]) return static_cast<Policy>(i);
  return Error{Errc::invalid,
               "the policy must be off, warn or enforce, not '" + std::string(text.substr(0, 40)) + "'"};
}

const char* to_text(SignatureInfo::Standing standing) {
  constexpr const char* kTexts[] = {"good",   "unknown key",   "revoked key",
                                    "forged", "not yet valid", "expired"};
  return kTexts[static_cast<int>(standing)];
}

const TrustedKey* Trust::find(std::string_view id) const {
  const auto found = std::find_if(keys.begin(), keys.end(), [&](const auto& key) { return key.id == id; });
  return found == keys.end() ? nullptr : &*found;
}

SignatureInfo Trust::examine(Signature signature) const {
  const TrustedKey* key = find(signature.claim.key);
  const auto standing = standing_of(signature, key, now_unix_s);
  std::string signer = key && !key->name.empty() ? key->name : signature.claim.key;
  return {std::move(signature), standing, std::move(signer)};
}

Verdict Trust::judge(std::span<const SignatureInfo> signatures, const std::string& model,
                     std::int64_t floor) const {
  if (const auto found = accepted.find(model); found != accepted.end())
    floor = std::max(floor, found->second);
  Verdict verdict;
  std::set<std::string> faults;  // several signatures of one key may have the same
  for (const SignatureInfo& info : signatures) {
    const Claim& said = info.signature.claim;
    const std::string fault = fault_of(info, model, floor);
    const std::string signer = info.signer == said.key ? "" : " (" + info.signer + ")";
    if (!fault.empty())
      faults.insert("key " + said.key + signer + " " + fault);
    else if (said.counter > verdict.counter)
      verdict = {true, info.signer, said.counter, said.expires_unix_s, {}};
  }
  if (!verdict.trusted) verdict.why_not = signatures.empty() ? "it has no signature" : some_of(faults);
  return verdict;
}

Result<Trust> read_trust(sqlite::Db& db) {
  Trust trust;
  DGQ_TRY(trust.policy, read_policy(db));
  DGQ_TRY(trust.keys, read_keys(db));
  DGQ_TRY(trust.accepted, read_accepted(db));
  DGQ_CHECK(read_clock(db, trust));
  return trust;
}

Result<Trust> read_trust(Registry& registry) {
  DGQ_TRY(Transaction snapshot, Transaction::begin(*registry.state().db, Transaction::Kind::read));
  return read_trust(*registry.state().db);
}

Result<std::vector<SignatureInfo>> stored_signatures(sqlite::Db& db, const Trust& trust,
                                                     const Digest& version) {
  std::vector<SignatureInfo> found;
  DGQ_CHECK(for_each_signature(db, version, [&](Result<Signature> signature) -> Result<void> {
    DGQ_CHECK(signature);
    found.push_back(trust.examine(std::move(*signature)));
    return {};
  }));
  return found;
}

Result<std::vector<SignatureInfo>> signatures_of(Registry& registry, const Trust& trust,
                                                 const Digest& version) {
  return stored_signatures(*registry.state().db, trust, version);
}

Result<Signatures> all_signatures(Registry& registry, const Trust& trust) {
  Signatures found;
  DGQ_CHECK(for_each_signature(*registry.state().db, std::nullopt,
                               [&](Result<Signature> signature) -> Result<void> {
                                 DGQ_CHECK(signature);
                                 const Digest version = signature->claim.version;
                                 found[version].push_back(trust.examine(std::move(*signature)));
                                 return {};
                               }));
  return found;
}

Result<void> check_signatures(sqlite::Db& db, std::vector<std::string>& faults) {
  DGQ_TRY(const Trust trust, read_trust(db));
  return for_each_signature(db, std::nullopt, [&](Result<Signature> signature) -> Result<void> {
    if (!signature) {
      faults.push_back(signature.error().what);
      return {};
    }
    const SignatureInfo info = trust.examine(std::move(*signature));
    const Claim& said = info.signature.claim;
    if (info.standing == SignatureInfo::Standing::forged)
      faults.push_back("a signature of version " + said.version.short_hex() + " is not by key " + said.key +
                       ", which it names");
    return {};
  });
}

std::vector<std::string> models_named(const VersionInfo& version, std::string_view reference) {
  const auto name = ModelRef::parse(reference);
  std::set<std::string> models;
  for (const std::string& tag : version.tags) {
    if (name && tag == name->text()) return {name->model};
    models.insert(tag.substr(0, tag.find(':')));
  }
  return {models.begin(), models.end()};
}

Result<Usable> resolve_to_use(Registry& registry, std::string_view reference, const UseRules& rules) {
  Usable used;
  DGQ_TRY(used.version, registry.resolve(reference));
  DGQ_TRY(Trust trust, read_trust(registry));
  trust.policy = std::max(trust.policy, rules.least);
  if (trust.policy == Policy::off) return used;
  if (rules.ran_before) trust.accepted.clear();
  if (!trust.clock_note.empty()) used.warnings.push_back(trust.clock_note);
  DGQ_TRY(const std::vector<SignatureInfo> signatures, signatures_of(registry, trust, used.version.digest));
  Verdict verdict;
  const std::vector<std::string> models =
      rules.model.empty() ? models_named(used.version, reference) : std::vector<std::string>{rules.model};
  for (const std::string& model : models) {
    if (verdict.trusted) break;
    verdict = trust.judge(signatures, model);
    used.model = model;
  }
  used.counter = verdict.counter;
  if (verdict.trusted) return used;
  const Digest& digest = used.version.digest;
  const std::string name = reference == digest.hex()
                               ? "version " + digest.short_hex()
                               : std::string(reference) + " (" + digest.short_hex() + ")";
  const std::string what = name + " is not signed as this registry wants it: " + verdict.why_not;
  if (trust.policy == Policy::enforce)
    return Error{Errc::untrusted, what + " (see dgq registry show, dgq key list; policy enforce)"};
  used.warnings.push_back(what + " (policy warn)");
  return used;
}

}  // namespace dgq
