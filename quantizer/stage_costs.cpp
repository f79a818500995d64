#include "quantizer/stage_costs.h"

#include <sys/resource.h>

#include <algorithm>

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

StageCost total(const std::vector<StageCost>& costs) {
  StageCost all{"all", 0, 0};
  for (const StageCost& cost : costs) {
    all.seconds += cost.seconds;
    all.peak_rss_bytes = std::max(all.peak_rss_bytes, cost.peak_rss_bytes);
  }
  return all;
}

Json to_json(const std::vector<StageCost>& costs) {
  Json list = Json::array();
  for (const StageCost& cost : costs)
    list.push_back(
        {{"stage", cost.stage}, {"seconds", cost.seconds}, {"peak_rss_bytes", cost.peak_rss_bytes}});
  return list;
}

Result<std::vector<StageCost>> costs_from_json(const Json& list, std::string_view where) {
  std::vector<StageCost> costs;
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

Result<std::vector<StageCost>> parse_costs(std::string_view text, std::string_view where) {
  if (text.empty()) return std::vector<StageCost>();
  DGQ_TRY(const Json list, parse_json(text, where));
  return costs_from_json(list, where);
}

}  // namespace dgq
