#include "bench/interleave.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "bench/child.h"

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

}  // namespace

Result<void> append_round(Run& to, const Run& round) {
  if (round.rows.size() != to.rows.size())
    return Error{Errc::unsupported, "a round has other rows than the one before"};
  for (RunRow& row : to.rows) {
    const auto more = std::find_if(round.rows.begin(), round.rows.end(),
                                   [&](const RunRow& other) { return other.of == row.of; });
    if (more == round.rows.end())
      return Error{Errc::unsupported, "a round has other rows than the one before"};
    row.samples.insert(row.samples.end(), more->samples.begin(), more->samples.end());
  }
  to.seconds += round.seconds;
  if (round.conditions.contains("after")) to.conditions["after"] = round.conditions["after"];
  return {};
}

Result<std::vector<Run>> interleave(const InterleavePlan& plan, const Progress& progress) {
  std::vector<Run> runs;
  const std::string session = new_session();
  for (int round = 0; round < plan.rounds; ++round)
    for (std::size_t side = 0; side < 2; ++side) {
      const char* const name = side == 0 ? "A" : "B";
      progress("round " + std::to_string(round + 1) + ", " + name,
               (2.0 * round + static_cast<double>(side)) / (2.0 * plan.rounds));
      DGQ_TRY(Run run, one_round(side == 0 ? plan.a : plan.b, name));
      for (RunRow& row : run.rows) row.warm_up = 0;  // each process had a warm-up of its own
      if (round > 0) {
        DGQ_CHECK(append_round(runs[side], run));
        continue;
      }
      run.session = session;
      run.settings["interleave_rounds"] = static_cast<unsigned>(plan.rounds);
      runs.push_back(std::move(run));
    }
  return runs;
}

}  // namespace dgq::bench
