// registry/runs.h - benchmark runs: documents that a registry keeps beside its models. What is in them is bench/run.h's.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "registry/registry.h"

namespace dgq {

namespace sqlite {
class Db;
}

struct NewRun {
  std::string kind;  // "model", "kernels", ...: what lists show
  std::int64_t started_unix_s;
  std::string document;  // its SHA-256 is the run's name
};
struct StoredRun {
  Digest digest;
  std::string kind;
  std::int64_t started_unix_s;
  std::string document;
};

// One transaction. A run that is there already stays as it is; the digests, and how many were new.
struct AddedRuns {
  std::vector<Digest> digests;
  std::size_t added = 0;
};
Result<AddedRuns> add_runs(Registry& registry, const std::vector<NewRun>& runs);

// All of them, oldest first.
Result<std::vector<StoredRun>> list_runs(Registry& registry);

// "latest" (the one that started last) or the beginning of a digest, at least 4 hex digits. not_found; invalid: several begin so.
// corrupt: the document does not match its digest.
Result<StoredRun> find_run(Registry& registry, std::string_view reference);

// not_found as above. Leaves an audit row.
Result<Digest> remove_run(Registry& registry, std::string_view reference);

// Faults: documents that do not match their digests. Internal to registry/.
Result<void> check_runs(sqlite::Db& db, std::vector<std::string>& faults);

}  // namespace dgq
