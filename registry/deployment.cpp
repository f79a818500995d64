#include "registry/deployment.h"

#include <array>

#include "registry/audit.h"
#include "registry/state.h"

namespace dgq {

using sqlite::Db;
using sqlite::Statement;
using sqlite::Transaction;

namespace {

constexpr std::array<const char*, 9> kStates = {
    "wanted", "waiting", "materialising", "verified", "loading", "checking", "draining", "active", "failed"};
constexpr std::size_t kLongestReason = 1000;  // bytes; of messages that quote what others wrote

constexpr const char* kColumns =
    "SELECT d.name, d.model, d.policy, d.asked, d.state, d.reason, d.attempts, d.since, "
    "c.digest, a.digest, p.digest, d.refused FROM deployment d LEFT JOIN version c ON c.id = d.candidate "
    "LEFT JOIN version a ON a.id = d.active LEFT JOIN version p ON p.id = d.previous ";

Result<std::optional<Digest>> digest_or_null(const Statement& row, int column) {
  if (row.is_null(column)) return std::optional<Digest>();
  DGQ_TRY(const Digest digest, row.digest(column));
  return std::optional(digest);
}

Result<Deployment> read_row(const Statement& row, const std::filesystem::path& path) {
  Deployment deployment;
  deployment.name = row.text(0);
  const std::string where = "registry " + path.string() + ": deployment " + deployment.name;
  const auto model = ModelRef::parse(row.text(1));
  if (!model) return Error{Errc::corrupt, where + ": " + model.error().what};
  deployment.model = *model;
  deployment.policy = row.text(2);
  deployment.asked = row.integer(3);
  std::size_t state = 0;
  while (state < kStates.size() && row.text(4) != kStates[state]) ++state;
  if (state == kStates.size()) return Error{Errc::corrupt, where + " has a state that is none"};
  deployment.state = static_cast<DeployState>(state);
  deployment.reason = row.text(5);
  deployment.attempts = row.integer(6);
  deployment.since_unix_s = row.integer(7);
  DGQ_TRY(deployment.candidate, digest_or_null(row, 8));
  DGQ_TRY(deployment.active, digest_or_null(row, 9));
  DGQ_TRY(deployment.previous, digest_or_null(row, 10));
  DGQ_TRY(deployment.refused, digest_or_null(row, 11));
  return deployment;
}

Error unknown_deployment(Db& db, std::string_view name) {
  std::string what = "there is no deployment '" + std::string(name.substr(0, 140)) + "'";
  const auto all = db.integer("SELECT count(*) FROM deployment");
  auto rows = db.query("SELECT name FROM deployment ORDER BY name LIMIT 8");
  if (!all || !rows) return {Errc::not_found, what};
  const char* separator = "; there is ";
  for (auto row = rows->step(); row && *row; row = rows->step(), separator = ", ")
    what += separator + std::string(rows->text(0));
  if (*all == 0) what += "; make one with: dgq deploy NAME MODEL[:TAG]";
  return {Errc::not_found, what};
}

Result<Deployment> find_row(Registry::State& state, std::string_view name) {
  DGQ_TRY(Statement row, state.db->query((std::string(kColumns) + "WHERE d.name = ?").c_str(), name));
  DGQ_TRY(const bool found, row.step());
  if (!found) return unknown_deployment(*state.db, name);
  return read_row(row, state.path);
}

Result<Transaction> begin_write(Registry& registry) {
  DGQ_CHECK(registry.state().require_writable());
  return Transaction::begin(*registry.state().db, Transaction::Kind::write);
}

Result<std::string> deployment_name(std::string_view text) {
  const auto name = ModelRef::parse(text);
  if (name && text.find_first_of(":/") == text.npos) return name->model;
  return Error{Errc::invalid, "the name of a deployment is 1 to 128 of A-Z a-z 0-9 . _ -, not '" +
                                  std::string(text.substr(0, 140)) + "'"};
}

Result<std::int64_t> version_id(Db& db, const Digest& version) {
  DGQ_TRY(const auto id, db.find_integer("SELECT id FROM version WHERE digest = ?", version));
  if (!id) return Error{Errc::not_found, "version " + version.hex() + " is not there any more"};
  return *id;
}

constexpr const char* kId = "(SELECT id FROM version WHERE digest = ?)";

}  // namespace

const char* to_text(DeployState state) { return kStates[static_cast<std::size_t>(state)]; }

Result<std::vector<Deployment>> deployments(Registry& registry) {
  DGQ_TRY(Statement rows, registry.state().db->query((std::string(kColumns) + "ORDER BY d.name").c_str()));
  std::vector<Deployment> all;
  while (true) {
    DGQ_TRY(const bool row, rows.step());
    if (!row) return all;
    DGQ_TRY(Deployment deployment, read_row(rows, registry.path()));
    all.push_back(std::move(deployment));
  }
}

Result<Deployment> find_deployment(Registry& registry, std::string_view name) {
  return find_row(registry.state(), name);
}

Result<std::optional<Digest>> named_version(Registry& registry, const ModelRef& name) {
  return registry.state().named_version(name);
}

Result<Deployment> ask_deployment(
    Registry& registry, const std::string& name, const ModelRef& model,
    const std::function<Result<std::string>(const std::string& before)>& policy) {
  DGQ_TRY(const std::string checked, deployment_name(name));
  DGQ_TRY(Transaction transaction, begin_write(registry));
  Db& db = *registry.state().db;
  const auto before = find_row(registry.state(), checked);
  if (!before && before.error().code != Errc::not_found) return before.error();
  DGQ_TRY(const std::string wanted_policy, policy(before ? before->policy : "{}"));
  DGQ_CHECK(
      db.run("INSERT INTO deployment(name, model, policy, asked, state, reason, attempts, since) "
             "VALUES (?, ?, ?, 1, 'wanted', '', 0, ?) ON CONFLICT(name) DO UPDATE SET model = "
             "excluded.model, policy = excluded.policy, asked = asked + 1, state = 'wanted', reason = '', "
             "candidate = NULL, refused = NULL, attempts = 0, since = excluded.since",
             checked, model.text(), wanted_policy, unix_now_s()));
  DGQ_CHECK(write_audit(db, "deploy", checked + " asked: " + model.text() + " " + wanted_policy, std::nullopt,
                        std::nullopt));
  DGQ_TRY(Deployment after, find_row(registry.state(), checked));
  DGQ_CHECK(transaction.commit());
  return after;
}

Result<Deployment> ask_rollback(Registry& registry, std::string_view name) {
  DGQ_TRY(Transaction transaction, begin_write(registry));
  Db& db = *registry.state().db;
  DGQ_TRY(const Deployment before, find_row(registry.state(), name));
  const bool stays = before.candidate && before.active && !goes_back(before);
  if (!stays && !before.previous)
    return Error{Errc::invalid, "deployment " + before.name + " has no earlier version to go back to"};
  DGQ_TRY(const std::optional<Digest> wanted, registry.state().named_version(before.model));
  const std::optional<Digest>& left = before.candidate ? before.candidate : before.active;
  DGQ_CHECK(
      db.run((std::string("UPDATE deployment SET asked = asked + 1, state = ?, reason = ?, candidate = ") +
              kId + ", refused = ?, attempts = 0, since = ? WHERE name = ?")
                 .c_str(),
             std::string_view(to_text(stays ? DeployState::active : DeployState::wanted)),
             "rolled back by " + who_am_i(), stays ? std::nullopt : before.previous, wanted ? wanted : left,
             unix_now_s(), before.name));
  DGQ_CHECK(write_audit(db, "deploy", before.name + " asked: roll back", left,
                        stays ? before.active : before.previous));
  DGQ_TRY(Deployment after, find_row(registry.state(), name));
  DGQ_CHECK(transaction.commit());
  return after;
}

Result<Deployment> end_deployment(Registry& registry, std::string_view name) {
  DGQ_TRY(Transaction transaction, begin_write(registry));
  Db& db = *registry.state().db;
  DGQ_TRY(Deployment before, find_row(registry.state(), name));
  DGQ_CHECK(db.run("DELETE FROM deployment WHERE name = ?", before.name));
  DGQ_CHECK(write_audit(db, "undeploy", before.name, before.active, std::nullopt));
  DGQ_CHECK(transaction.commit());
  return before;
}

Result<bool> record_step(Registry& registry, Deployment& after, std::string_view what) {
  DGQ_TRY(Transaction transaction, begin_write(registry));
  Db& db = *registry.state().db;
  DGQ_TRY(const auto same,
          db.find_integer("SELECT 1 FROM deployment WHERE name = ? AND asked = ?", after.name, after.asked));
  if (!same) return false;
  for (const auto& version : {after.candidate, after.active, after.previous})
    if (version) DGQ_CHECK(version_id(db, *version));
  if (after.reason.size() > kLongestReason) after.reason.resize(kLongestReason);
  const std::int64_t now = unix_now_s();
  static const std::string kUpdate =
      std::string("UPDATE deployment SET state = ?, reason = ?, candidate = ") + kId + ", active = " + kId +
      ", previous = " + kId + ", refused = ?, attempts = ?, since = ? WHERE name = ?";
  DGQ_CHECK(db.run(kUpdate.c_str(), std::string_view(to_text(after.state)), after.reason, after.candidate,
                   after.active, after.previous, after.refused, after.attempts, now, after.name));
  std::string subject = after.name + " ";
  if (!what.empty())
    subject += what;
  else
    subject += to_text(after.state) + (after.reason.empty() ? "" : ": " + after.reason);
  DGQ_CHECK(write_audit(db, "deploy", subject, after.candidate ? after.active : after.previous,
                        after.candidate ? after.candidate : after.active));
  DGQ_CHECK(transaction.commit());
  after.since_unix_s = now;
  return true;
}

Result<std::int64_t> begin_run(Registry& registry, const std::string& deployment, const Digest& version) {
  DGQ_TRY(Transaction transaction, begin_write(registry));
  Db& db = *registry.state().db;
  DGQ_TRY(const std::int64_t id, version_id(db, version));
  DGQ_CHECK(db.run("INSERT INTO deployment_run(deployment, version, began) VALUES (?, ?, ?)", deployment, id,
                   unix_now_s()));
  const std::int64_t run = db.last_insert_id();
  DGQ_CHECK(transaction.commit());
  return run;
}

Result<void> end_run(Registry& registry, std::int64_t run) {
  DGQ_TRY(Transaction transaction, begin_write(registry));
  DGQ_CHECK(registry.state().db->run("DELETE FROM deployment_run WHERE id = ?", run));
  return transaction.commit();
}

Result<void> forget_runs(Registry& registry, const std::string& deployment) {
  DGQ_TRY(Transaction transaction, begin_write(registry));
  DGQ_CHECK(registry.state().db->run("DELETE FROM deployment_run WHERE deployment = ?", deployment));
  return transaction.commit();
}

Result<std::int64_t> abandoned_runs(Registry& registry, const std::string& deployment, const Digest& version,
                                    std::int64_t window_s) {
  DGQ_TRY(Transaction transaction, begin_write(registry));
  Db& db = *registry.state().db;
  DGQ_CHECK(db.run("DELETE FROM deployment_run WHERE deployment = ? AND began < ?", deployment,
                   unix_now_s() - window_s));
  DGQ_TRY(const std::int64_t runs,
          db.integer("SELECT count(*) FROM deployment_run r JOIN version v ON v.id = r.version WHERE "
                     "r.deployment = ? AND v.digest = ?",
                     deployment, version));
  DGQ_CHECK(transaction.commit());
  return runs;
}

Result<std::string> expectations_of(Registry& registry, const Digest& version) {
  DGQ_TRY(Statement row,
          registry.state().db->query("SELECT e.json FROM expectation e JOIN version v ON v.id = "
                                     "e.version WHERE v.digest = ?",
                                     version));
  DGQ_TRY(const bool found, row.step());
  return found ? std::string(row.text(0)) : std::string();
}

Result<void> set_expectations(Registry& registry, const Digest& version, std::string_view json) {
  DGQ_TRY(Transaction transaction, begin_write(registry));
  Db& db = *registry.state().db;
  DGQ_TRY(const std::int64_t id, version_id(db, version));
  if (json.empty())
    DGQ_CHECK(db.run("DELETE FROM expectation WHERE version = ?", id));
  else
    DGQ_CHECK(db.run("INSERT OR REPLACE INTO expectation(version, json) VALUES (?, ?)", id, json));
  DGQ_CHECK(write_audit(db, "expect", json.empty() ? "nothing" : json, std::nullopt, version));
  return transaction.commit();
}

Result<void> set_patience(Registry& registry, std::int64_t milliseconds) {
  return registry.state().db->script(("PRAGMA busy_timeout = " + std::to_string(milliseconds)).c_str());
}

Result<std::int64_t> change_counter(Registry& registry) {
  return registry.state().db->integer("PRAGMA data_version");
}

}  // namespace dgq
