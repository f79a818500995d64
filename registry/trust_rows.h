// registry/trust_rows.h - the rows behind registry/trust.h. Internal to registry/. Call inside a transaction.
#pragma once

#include "registry/bundle.h"
#include "registry/sqlite.h"
#include "registry/trust.h"

namespace dgq {

Result<Trust> read_trust(sqlite::Db& db);
Result<std::vector<SignatureInfo>> stored_signatures(sqlite::Db& db, const Trust& trust,
                                                     const Digest& version);
// Stores those that are new, with audit rows. corrupt: one names a key that is known here, and is not by it.
Result<void> store_signatures(sqlite::Db& db, std::int64_t version, std::span<const Signature> signatures,
                              const char* action);
// The policy, for a name that is to move from one version (or none) to another: untrusted, or its warning, or nothing.
Result<std::string> require_trusted(sqlite::Db& db, const ModelRef& name, const std::optional<Digest>& from,
                                    const Digest& to);
// The policy, for versions that are about to be imported: untrusted before anything arrives, or warnings.
Result<std::vector<std::string>> check_import(sqlite::Db& db, const BundleContents& contents);
// What was accepted of the one model was accepted of the other as well: its name is only another one.
Result<void> carry_accepted(sqlite::Db& db, const std::string& from, const std::string& to);
// Faults: rows that are no statement of their version, and forged signatures.
Result<void> check_signatures(sqlite::Db& db, std::vector<std::string>& faults);

}  // namespace dgq
