// bench/run.h - a run: what was measured, on which machine, by which build, under which conditions, with every sample.
// docs/BENCHMARKS.md says what the members are. A run never changes; the SHA-256 of its text is its name.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/json.h"
#include "base/result.h"

namespace dgq::bench {

inline constexpr std::int64_t kRunVersion = 1;

struct RunRow {
  // What was measured, flat: {"test": "pp512", "n_threads": 2, ...}. Rows of two runs belong together when these are equal.
  Json of = Json::object();
  std::string unit;  // of the samples: "tokens/s"
  bool more_is_better = true;
  std::vector<double> samples;  // in the order of their measuring; never empty
  std::size_t warm_up = 0;      // so many at the beginning do not count (warm_up_of)
  Json figures =
      Json::object();  // made from the samples and the machine's limits, flat; null where it could not be had

  std::vector<double> counted() const;
};

struct Run {
  std::string kind;  // "model", "kernels", "registry", "agent", "instructions"
  std::string tool;  // "dgq 0.1.0"
  std::int64_t started_unix_s = 0;
  double seconds = 0;                // that it took
  std::string session;               // runs that took turns share one (dgq compare --interleave); else empty
  Json machine = Json::object();     // bench/machine.h
  Json build = Json::object();       // bench/build.h
  Json conditions = Json::object();  // bench/conditions.h: {"before", "after"}
  Json settings = Json::object();    // flat
  Json limits = Json::object();      // {"read": [...], "multiply_add": [...]}, measured in the run
  std::vector<RunRow> rows;
};

// How many samples at the beginning are warm-up: those that lie more than 3 (scaled) median absolute deviations from the median of the
// later half, until the first that does not; at most a fourth of all, none of fewer than 4.
std::size_t warm_up_of(const std::vector<double>& samples);

// One line of JSON.
std::string run_text(const Run& run);
Digest run_digest(const Run& run);
// Errors (corrupt; unsupported: made by a newer dgq) begin with `where`.
Result<Run> parse_run(std::string_view text, std::string_view where);

// Several runs as one file to send: a header, a run a line, a line with the SHA-256 of all before.
std::string runs_file(const std::vector<Run>& runs);
// Whether a file's first bytes are those of such a file; 16 are enough.
bool is_runs_file(std::string_view beginning);
// corrupt: cut short, changed, or not such a file.
Result<std::vector<Run>> parse_runs_file(std::string_view text, std::string_view where);
inline constexpr std::size_t kMaxRunsFile = std::size_t{64} << 20;  // bytes

}  // namespace dgq::bench
