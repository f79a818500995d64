// quantizer/stage_costs.h - what each stage of quantizing took on the machine that did it. It differs from run to run, so it is
// no part of a version: the registry keeps it in its audit log.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace dgq {

struct StageCost {
  std::string stage;  // "calibration", "layers.0", ...
  double seconds;     // elapsed
  std::uint64_t
      peak_rss_bytes;  // the most that the process had in memory, from its start to the end of the stage
};

class StageClock {
 public:
  // What was done since the clock was made, or since the last call.
  void finish(std::string stage);
  const std::vector<StageCost>& costs() const { return costs_; }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
  std::vector<StageCost> costs_;
};

// Of all stages: the sum of the times, the highest peak.
StageCost total(const std::vector<StageCost>& costs);

// [{"stage", "seconds", "peak_rss_bytes"}, ...]
Json to_json(const std::vector<StageCost>& costs);
// Back from a file or a registry.
Result<std::vector<StageCost>> costs_from_json(const Json& list, std::string_view where);
// An empty text: none.
Result<std::vector<StageCost>> parse_costs(std::string_view text, std::string_view where);

}  // namespace dgq
