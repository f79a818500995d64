#include "registry/runs.h"

#include "registry/audit.h"
#include "registry/state.h"

namespace dgq {

using sqlite::Statement;
using sqlite::Transaction;

namespace {

constexpr std::size_t kMinPrefix = 4;  // hex digits

Result<std::vector<StoredRun>> read(Statement rows) {
  std::vector<StoredRun> runs;
  while (true) {
    DGQ_TRY(const bool row, rows.step());
    if (!row) return runs;
    DGQ_TRY(const Digest digest, rows.digest(0));
    runs.push_back({digest, std::string(rows.text(1)), rows.integer(2), std::string(rows.text(3))});
    if (sha256(runs.back().document) != digest)
      return Error{Errc::corrupt, "run " + digest.short_hex() +
                                      ": its document does not match its digest (see dgq registry verify)"};
  }
}

bool is_prefix(std::string_view text) {
  return text.size() >= kMinPrefix && text.size() <= 64 &&
         text.find_first_not_of("0123456789abcdef") == text.npos;
}

}  // namespace

Result<AddedRuns> add_runs(Registry& registry, const std::vector<NewRun>& runs) {
  Registry::State& state = registry.state();
  DGQ_CHECK(state.require_writable());
  DGQ_TRY(Transaction transaction, Transaction::begin(*state.db, Transaction::Kind::write));
  AddedRuns result;
  for (const NewRun& run : runs) {
    const Digest digest = sha256(run.document);
    result.digests.push_back(digest);
    DGQ_TRY(const auto there, state.db->find_integer("SELECT 1 FROM run WHERE digest = ?", digest));
    if (there) continue;
    DGQ_CHECK(state.db->run("INSERT INTO run(digest, kind, started, document) VALUES (?, ?, ?, ?)", digest,
                            run.kind, run.started_unix_s, run.document));
    ++result.added;
  }
  DGQ_CHECK(transaction.commit());
  return result;
}

Result<std::vector<StoredRun>> list_runs(Registry& registry) {
  DGQ_TRY(Statement rows,
          registry.state().db->query("SELECT digest, kind, started, document FROM run ORDER BY started, id"));
  return read(std::move(rows));
}

Result<StoredRun> find_run(Registry& registry, std::string_view reference) {
  sqlite::Db& db = *registry.state().db;
  const std::string where = " in registry " + registry.path().string();
  if (reference != "latest" && !is_prefix(reference))
    return Error{Errc::invalid, "a run is named by 'latest' or by at least " + std::to_string(kMinPrefix) +
                                    " digits of its digest, not '" + std::string(reference) +
                                    "' (see dgq bench runs)"};
  const bool latest = reference == "latest";
  DGQ_TRY(Statement rows,
          latest ? db.query("SELECT digest, kind, started, document FROM run ORDER BY started DESC, id DESC "
                            "LIMIT 1")
                 : db.query("SELECT digest, kind, started, document FROM run WHERE lower(hex(digest)) LIKE ? "
                            "|| '%' LIMIT 2",
                            reference));
  DGQ_TRY(std::vector<StoredRun> found, read(std::move(rows)));
  if (found.size() == 1) return std::move(found.front());
  if (!found.empty())
    return Error{Errc::invalid, "several runs begin with " + std::string(reference) + where};
  return Error{Errc::not_found,
               (latest ? std::string("there is no run") : "there is no run " + std::string(reference)) +
                   where + " (see dgq bench runs)"};
}

Result<Digest> remove_run(Registry& registry, std::string_view reference) {
  Registry::State& state = registry.state();
  DGQ_CHECK(state.require_writable());
  DGQ_TRY(Transaction transaction, Transaction::begin(*state.db, Transaction::Kind::write));
  DGQ_TRY(const StoredRun run, find_run(registry, reference));
  DGQ_CHECK(state.db->run("DELETE FROM run WHERE digest = ?", run.digest));
  DGQ_CHECK(write_audit(*state.db, "remove run", run.kind, run.digest, std::nullopt));
  DGQ_CHECK(transaction.commit());
  return run.digest;
}

Result<void> check_runs(sqlite::Db& db, std::vector<std::string>& faults) {
  DGQ_TRY(Statement rows, db.query("SELECT digest, document FROM run"));
  while (true) {
    DGQ_TRY(const bool row, rows.step());
    if (!row) return {};
    DGQ_TRY(const Digest digest, rows.digest(0));
    if (sha256(rows.text(1)) != digest)
      faults.push_back("run " + digest.short_hex() + ": its document does not match its digest");
  }
}

}  // namespace dgq
