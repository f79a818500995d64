// bench/run_entries.h - the rows of many runs, each with the run that it is of.
#pragma once

#include <vector>

#include "bench/run.h"

namespace dgq::bench {

struct RunEntry {
  const Run* run;
  const RunRow* row;
  Json isa() const { return run->settings.value("isa", Json()); }
};

// Borrows the runs. Of rows that were measured more than once, with the same ISA on the same machine, the latest.
std::vector<RunEntry> latest_entries(const std::vector<Run>& runs);

// A setting, label or figure as text; "-" for null.
std::string text_of(const Json& value);

// What a row measured, for people: "pp512, 2 threads".
std::string name_of(const RunRow& row);

}  // namespace dgq::bench
