#include "bench/energy.h"

#include <chrono>

#include "bench/facts.h"

namespace dgq::bench {
namespace {

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Result<double> read_number(const std::filesystem::path& file) { return Facts("/").number(file.string()); }

}  // namespace

Result<EnergyMeter> EnergyMeter::open(std::optional<double> watts, const std::filesystem::path& root) {
  const Facts facts(root);
  EnergyMeter meter;
  meter.last_s_ = now_s();
  const auto at = [&](const std::string& path) { return std::filesystem::absolute(root / path.substr(1)); };
  std::string why = "no package in /sys/class/powercap";
  const std::string zones = "/sys/class/powercap/";
  for (const std::string& zone : facts.names(zones, "intel-rapl:")) {
    const auto name = facts.text(zones + zone + "/name");
    if (!name || !name->starts_with("package")) continue;
    const auto energy = facts.number(zones + zone + "/energy_uj");
    if (!energy) {
      why = energy.error().what;  // root only, since 2020
      continue;
    }
    const auto range = facts.number(zones + zone + "/max_energy_range_uj");
    meter.counters_.push_back({at(zones + zone + "/energy_uj"), 1e-6, range ? *range : 0, *energy});
    meter.source_ += (meter.source_.empty() ? "powercap " : ", ") + *name;
  }
  if (!meter.counters_.empty()) return meter;
  const std::string monitors = "/sys/class/hwmon/";
  for (const std::string& monitor : facts.names(monitors, "hwmon"))
    for (const char* sensor : {"energy1_input", "power1_average", "power1_input"}) {
      const std::string file = monitors + monitor + "/" + sensor;
      const auto value = facts.number(file);
      if (!value) continue;
      const auto name = facts.text(monitors + monitor + "/name");
      meter.source_ = "hwmon " + (name ? *name : monitor) + " " + sensor;
      if (*sensor == 'e') {
        meter.counters_.push_back({at(file), 1e-6, 0, *value});
      } else {
        meter.power_ = at(file);
        meter.watts_ = *value * 1e-6;
      }
      return meter;
    }
  if (!watts)
    return Error{Errc::unsupported, why + ", no energy or power in " + monitors + " and no --watts"};
  meter.watts_ = *watts;
  meter.source_ = "--watts";
  return meter;
}

double EnergyMeter::joules() {
  const double now = now_s(), before = watts_;
  if (!power_.empty())
    if (const auto value = read_number(power_)) watts_ = *value * 1e-6;
  total_ += (before + watts_) / 2 * (now - last_s_);
  last_s_ = now;
  for (Counter& counter : counters_) {
    const auto value = read_number(counter.file);
    if (!value) continue;
    double units = *value - counter.last;
    if (units < 0) units += counter.wraps_at;
    total_ += units * counter.joules_per_unit;
    counter.last = *value;
  }
  return total_;
}

}  // namespace dgq::bench
