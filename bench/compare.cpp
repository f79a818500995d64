#include "bench/compare.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "bench/run_entries.h"
#include "bench/statistics.h"

namespace dgq::bench {
namespace {

using Entry = RunEntry;

Json without(Json object, std::initializer_list<const char*> keys) {
  for (const char* key : keys) object.erase(key);
  return object;
}

// The entry of `all` that is the only one for which `fits` holds.
template <class Fits>
const Entry* only(const std::vector<Entry>& all, const Fits& fits) {
  const Entry* found = nullptr;
  for (const Entry& entry : all) {
    if (!fits(entry)) continue;
    if (found) return nullptr;
    found = &entry;
  }
  return found;
}

const Entry* partner(const Entry& a, const std::vector<Entry>& side_a, const std::vector<Entry>& side_b) {
  const auto same_as = [&](auto key) {
    const auto fits = [&](const Entry& entry) { return key(entry) == key(a); };
    return only(side_a, fits) ? only(side_b, fits) : nullptr;
  };
  if (const Entry* exact = same_as([](const Entry& e) { return Json{e.run->kind, e.row->of, e.isa()}; }))
    return exact;
  if (const Entry* other = same_as([](const Entry& e) { return Json{e.run->kind, e.row->of}; })) return other;
  return same_as([](const Entry& e) { return Json{e.run->kind, without(e.row->of, {"model"})}; });
}

void add_once(std::vector<std::string>& list, std::string text) {
  if (std::find(list.begin(), list.end(), text) == list.end()) list.push_back(std::move(text));
}

void add_difference(std::vector<std::string>& list, const std::string& key, const Json& a, const Json& b) {
  if (a != b) add_once(list, key + ": " + text_of(a) + " and " + text_of(b));
}

void add_setups(std::vector<std::string>& list, const Run& a, const Run& b) {
  for (const char* key : {"cpu", "architecture", "features", "cores", "threads", "memory_bytes", "governor",
                          "huge_pages", "kernel", "container", "virtual_machine"})
    add_difference(list, key, a.machine.value(key, Json()), b.machine.value(key, Json()));
  for (const char* key : {"commit", "compiler", "flags", "type", "sanitized", "libc"})
    add_difference(list, key, a.build.value(key, Json()), b.build.value(key, Json()));
  for (const auto* one : {&a, &b})
    for (const auto& [key, value] : one->settings.items())
      if (key != "repetitions" && !key.starts_with("kernel_") && !key.ends_with("_sha256"))
        add_difference(list, key, a.settings.value(key, Json()), b.settings.value(key, Json()));
  // What a machine did meanwhile.
  for (const auto* one : {&a, &b}) {
    const std::string side = one == &a ? "first" : "second";
    const Json throttled = one->conditions.value("throttled", Json()),
               steal = one->conditions.value("steal_share", Json());
    if (throttled.is_number() && throttled.get<double>() > 0)
      add_once(list, "the " + side + " was throttled " + throttled.dump() + " times");
    constexpr double kMuch = 0.02;
    if (steal.is_number() && steal.get<double>() > kMuch)
      add_once(list, "the hypervisor took " +
                         std::to_string(static_cast<int>(std::lround(100 * steal.get<double>()))) +
                         " % of the CPU time from the " + side);
  }
}

// Why no row of the other side goes with this one; none where that side just did not measure it.
std::optional<std::string> why_alone(const Entry& a, const std::vector<Entry>& others) {
  for (const Entry& b : others)
    if (b.run->kind == a.run->kind &&
        without(b.row->of, {"n_threads", "model"}) == without(a.row->of, {"n_threads", "model"}) &&
        b.row->of.value("n_threads", Json()) != a.row->of.value("n_threads", Json()))
      return "different threads: not comparable (" + text_of(a.row->of.value("n_threads", Json())) + " and " +
             text_of(b.row->of.value("n_threads", Json())) + ")";
  for (const Entry& b : others)
    if (b.run->kind == a.run->kind) return std::nullopt;
  return "different benchmarks: not comparable (" + a.run->kind + " has no counterpart)";
}

std::size_t rounds_of(const Entry& a, const Entry& b) {
  if (a.run->session.empty() || a.run->session != b.run->session) return 0;
  const Json rounds = a.run->settings.value("interleave_rounds", Json());
  if (!rounds.is_number_unsigned() || a.row->samples.size() != b.row->samples.size()) return 0;
  const auto count = rounds.get<std::size_t>();
  return count >= kLeastPairs && a.row->samples.size() % count == 0 ? count : 0;
}

ComparedRow compare_rows(const Entry& a, const Entry& b) {
  ComparedRow row;
  row.name = name_of(*a.row);
  row.unit = a.row->unit;
  const std::vector<double> sa = a.row->counted(), sb = b.row->counted();
  row.samples_a = sa.size(), row.samples_b = sb.size();
  row.median_a = median(sa), row.median_b = median(sb);
  row.interval_a = median_interval(sa), row.interval_b = median_interval(sb);
  const bool more = a.row->more_is_better;
  if (const std::size_t rounds = rounds_of(a, b)) {
    const PairedSpeed paired = compare_rounds(a.row->samples, b.row->samples, rounds, more);
    row.speed = paired.speed, row.speed_interval = paired.interval, row.p = paired.p;
    row.test = "signed-rank, " + std::to_string(rounds) + " pairs";
  } else {
    row.speed = more ? row.median_b / row.median_a : row.median_a / row.median_b;
    row.speed_interval = more ? ratio_interval(sa, sb) : ratio_interval(sb, sa);
    row.p = mann_whitney_p(sa, sb);
    row.test = "Mann-Whitney U";
  }
  row.significant = row.p < kAlpha;
  return row;
}

std::vector<double> medians_of_rounds(const std::vector<double>& samples, std::size_t rounds) {
  const auto size = static_cast<std::ptrdiff_t>(samples.size() / rounds);
  std::vector<double> medians;
  for (std::size_t i = 0; i < rounds; ++i) {
    const auto first = samples.begin() + static_cast<std::ptrdiff_t>(i) * size;
    medians.push_back(median({first, first + size}));
  }
  return medians;
}

}  // namespace

PairedSpeed compare_rounds(const std::vector<double>& a, const std::vector<double>& b, std::size_t rounds,
                           bool more_is_better) {
  const std::vector<double> first = medians_of_rounds(a, rounds), second = medians_of_rounds(b, rounds);
  std::vector<double> ratios, logs;
  for (std::size_t i = 0; i < rounds; ++i) {
    ratios.push_back(more_is_better ? second[i] / first[i] : first[i] / second[i]);
    logs.push_back(std::log(ratios.back()));
  }
  return {median(ratios), median_interval(ratios), signed_rank_p(logs)};
}

Comparison compare(const std::vector<Run>& a, const std::vector<Run>& b) {
  Comparison result;
  const std::vector<Entry> first = latest_entries(a), second = latest_entries(b);
  std::vector<const Entry*> taken;
  for (const Entry& entry : first) {
    const Entry* other = partner(entry, first, second);
    const bool positive = other &&
                          *std::min_element(entry.row->samples.begin(), entry.row->samples.end()) > 0 &&
                          *std::min_element(other->row->samples.begin(), other->row->samples.end()) > 0;
    if (!other || !positive) {
      const std::optional<std::string> why =
          other ? "samples that are not above 0: " + name_of(*entry.row) : why_alone(entry, second);
      if (why)
        add_once(result.not_comparable, *why);
      else
        add_once(result.only_in_a, name_of(*entry.row));
      continue;
    }
    taken.push_back(other);
    add_difference(result.differences, "model", entry.row->of.value("model", Json()),
                   other->row->of.value("model", Json()));
    add_setups(result.differences, *entry.run, *other->run);
    result.rows.push_back(compare_rows(entry, *other));
  }
  for (const Entry& entry : second)
    if (std::find(taken.begin(), taken.end(), &entry) == taken.end() && !first.empty())
      add_once(result.only_in_b, name_of(*entry.row));
  return result;
}

}  // namespace dgq::bench
