// registry/names.cpp - second and new names: copy and rename.
#include "registry/audit.h"
#include "registry/state.h"
#include "registry/trust_rows.h"

namespace dgq {

using sqlite::Statement;
using sqlite::Transaction;

namespace {

struct Names {
  ModelRef from, to;
  bool all_tags;  // of the model
};

Result<Names> parse_names(std::string_view from, std::string_view to) {
  Names names;
  DGQ_TRY(names.from, ModelRef::parse(from));
  DGQ_TRY(names.to, ModelRef::parse(to));
  names.all_tags = from.find(':') == from.npos && to.find(':') == to.npos;
  return names;
}

struct Target {
  NameGiven given;
  std::int64_t version;
};

Result<std::vector<Target>> targets_of(sqlite::Db& db, const Names& names) {
  DGQ_TRY(Statement rows,
          db.query("SELECT t.tag, v.id, v.digest FROM tag t JOIN version v ON v.id = t.version "
                   "WHERE t.model = ?1 AND (?2 OR t.tag = ?3) ORDER BY t.tag",
                   names.from.model, std::int64_t{names.all_tags}, names.from.tag));
  std::vector<Target> targets;
  while (true) {
    DGQ_TRY(const bool row, rows.step());
    if (!row) return targets;
    const std::string tag(rows.text(0));
    DGQ_TRY(const Digest digest, rows.digest(2));
    targets.push_back(
        {{{names.from.model, tag}, {names.to.model, names.all_tags ? tag : names.to.tag}, digest},
         rows.integer(1)});
  }
}

std::vector<NameGiven> given(const std::vector<Target>& targets) {
  std::vector<NameGiven> names;
  for (const Target& target : targets) names.push_back(target.given);
  return names;
}

}  // namespace

Result<std::vector<NameGiven>> Registry::copy(std::string_view from, std::string_view to) {
  DGQ_CHECK(state_->require_writable());
  DGQ_TRY(const Names names, parse_names(from, to));
  DGQ_TRY(Transaction transaction, Transaction::begin(*state_->db, Transaction::Kind::write));
  DGQ_TRY(std::vector<Target> targets, targets_of(*state_->db, names));
  if (targets.empty()) return state_->unknown_model(from);
  for (auto& [name, version] : targets) {
    DGQ_TRY(name.warning, state_->move_tag(name.to, version, name.version, "tag"));
  }
  DGQ_CHECK(transaction.commit());
  return given(targets);
}

Result<std::vector<NameGiven>> Registry::rename(std::string_view from, std::string_view to) {
  DGQ_CHECK(state_->require_writable());
  sqlite::Db& db = *state_->db;
  DGQ_TRY(const Names names, parse_names(from, to));
  DGQ_TRY(Transaction transaction, Transaction::begin(db, Transaction::Kind::write));
  DGQ_TRY(std::vector<Target> targets, targets_of(db, names));
  if (targets.empty()) return state_->unknown_model(from);
  for (auto& [name, version] : targets) {
    DGQ_TRY(const std::optional<Digest> there, state_->named_version(name.to));
    if (there)
      return Error{Errc::invalid, "cannot rename " + name.from.text() + ": there is a " + name.to.text() +
                                      " already; remove it first, or choose another name"};
    DGQ_CHECK(db.run("DELETE FROM tag WHERE model = ? AND tag = ?", name.from.model, name.from.tag));
    DGQ_CHECK(write_audit(db, "rename", name.from.text(), name.version, std::nullopt));
    DGQ_TRY(name.warning, state_->move_tag(name.to, version, name.version, "rename"));
  }
  // A model that is gone under its old name takes its counter along: else a rename would be a way round it.
  DGQ_TRY(const auto left, db.find_integer("SELECT 1 FROM tag WHERE model = ? LIMIT 1", names.from.model));
  if (!left) DGQ_CHECK(carry_accepted(db, names.from.model, names.to.model));
  DGQ_CHECK(transaction.commit());
  return given(targets);
}

}  // namespace dgq
