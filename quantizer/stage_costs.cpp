#include "quantizer/stage_costs.h"

#include <sys/resource.h>

namespace dgq {
namespace {

std::uint64_t peak_rss_bytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return 1024 * static_cast<std::uint64_t>(usage.ru_maxrss);
}

}  // namespace

void StageClock::finish(std::string stage) {
  const auto now = std::chrono::steady_clock::now();
  costs_.push_back({std::move(stage), std::chrono::duration<double>(now - last_).count(), peak_rss_bytes()});
  last_ = now;
}

Json to_json(const std::vector<StageCost>& costs) {
  Json list = Json::array();
  for (const StageCost& cost : costs)
    list.push_back(
        {{"stage", cost.stage}, {"seconds", cost.seconds}, {"peak_rss_bytes", cost.peak_rss_bytes}});
  return list;
}

Result<std::vector<StageCost>> parse_costs(std::string_view text, std::string_view where) {
  std::vector<StageCost> costs;
  if (text.empty()) return costs;
  DGQ_TRY(const Json list, parse_json(text, where));
  if (!list.is_array()) return Error{Errc::corrupt, std::string(where) + " must be an array"};
  for (const Json& json : list) {
    StageCost cost;
    DGQ_TRY(cost.stage, json_string(json, "stage", where));
    DGQ_TRY(cost.seconds, json_number(json, "seconds", where));
    DGQ_TRY(cost.peak_rss_bytes, json_int(json, "peak_rss_bytes", 0, INT64_MAX, where));
    costs.push_back(std::move(cost));
  }
  return costs;
}

}  // namespace dgq
