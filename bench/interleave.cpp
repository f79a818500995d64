#include "bench/interleave.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "bench/child.h"
#include "bench/conditions.h"
#include "bench/statistics.h"

namespace dgq::bench {
namespace {

std::string new_session() {
  const auto now = std::chrono::system_clock::now().time_since_epoch().count();
  return sha256(std::to_string(now) + " " + std::to_string(::getpid())).short_hex();
}

Result<Run> one_round(const std::vector<std::string>& words, const char* side) {
  DGQ_TRY(const std::string text, run_program(words, kMaxRunsFile));
  return parse_run(text, std::string("what ") + side + " (" + words[0] + ") prints");
}

// The row that each round has for this.
Result<std::vector<const RunRow*>> row_of_each(const std::vector<Run>& rounds, const Json& of) {
  std::vector<const RunRow*> found;
  for (const Run& round : rounds) {
    const auto row =
        std::find_if(round.rows.begin(), round.rows.end(), [&](const RunRow& one) { return one.of == of; });
    if (row == round.rows.end() || round.rows.size() != rounds.front().rows.size())
      return Error{Errc::unsupported, "a round has other rows than the one before"};
    found.push_back(&*row);
  }
  return found;
}

// What was measured is a fraction; anything else (sizes, names) is the same in all rounds.
Json median_figure(const std::vector<const RunRow*>& rows, const std::string& name, const Json& first) {
  std::vector<double> values;
  for (const RunRow* row : rows)
    if (const Json value = row->figures.value(name, Json()); value.is_number_float())
      values.push_back(value.get<double>());
  return values.size() == rows.size() ? Json(median(values)) : first;
}

}  // namespace

Result<Run> merge_rounds(const std::vector<Run>& rounds) {
  Run merged = rounds.front();
  for (std::size_t i = 1; i < rounds.size(); ++i) {
    merged.seconds += rounds[i].seconds;
    for (const auto& [name, limits] : rounds[i].limits.items())
      if (limits.is_array() && merged.limits[name].is_array())
        merged.limits[name].insert(merged.limits[name].end(), limits.begin(), limits.end());
  }
  for (RunRow& row : merged.rows) {
    DGQ_TRY(const auto same, row_of_each(rounds, row.of));
    row.warm_up = 0;  // each process had a warm-up of its own
    for (std::size_t i = 1; i < same.size(); ++i)
      row.samples.insert(row.samples.end(), same[i]->samples.begin(), same[i]->samples.end());
    for (const auto& [name, value] : row.figures.items()) value = median_figure(same, name, value);
  }
  const auto conditions = [](const Run& run, const char* name) {
    const Json value = run.conditions.value(name, Json());
    return value.is_object() ? value : Json(Json::object());
  };
  merged.conditions =
      conditions_between(conditions(rounds.front(), "before"), conditions(rounds.back(), "after"));
  double peak = 0;
  for (const Run& round : rounds)
    if (const Json bytes = round.conditions.value("peak_memory_bytes", Json()); bytes.is_number())
      peak = std::max(peak, bytes.get<double>());
  if (peak > 0) merged.conditions["peak_memory_bytes"] = static_cast<std::uint64_t>(peak);
  return merged;
}

Result<std::vector<Run>> interleave(const InterleavePlan& plan, const Progress& progress) {
  std::vector<Run> rounds[2];
  for (int round = 0; round < plan.rounds; ++round)
    for (std::size_t side = 0; side < 2; ++side) {
      const char* const name = side == 0 ? "A" : "B";
      progress("round " + std::to_string(round + 1) + ", " + name,
               (2.0 * round + static_cast<double>(side)) / (2.0 * plan.rounds));
      DGQ_TRY(Run run, one_round(side == 0 ? plan.a : plan.b, name));
      rounds[side].push_back(std::move(run));
      DGQ_CHECK(merge_rounds({rounds[side].front(), rounds[side].back()}));  // not after hours only
    }
  const std::string session = new_session();
  std::vector<Run> runs;
  for (const std::vector<Run>& side : rounds) {
    DGQ_TRY(Run run, merge_rounds(side));
    run.session = session;
    run.settings["interleave_rounds"] = static_cast<unsigned>(plan.rounds);
    runs.push_back(std::move(run));
  }
  return runs;
}

}  // namespace dgq::bench
