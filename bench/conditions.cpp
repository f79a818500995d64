#include "bench/conditions.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>

#include "bench/facts.h"
#include "bench/statistics.h"

namespace dgq::bench {
namespace {

constexpr const char* kCpus = "/sys/devices/system/cpu/";

void add_clock(Facts& facts) {
  std::vector<double> mhz;
  for (const std::string& cpu : facts.names(kCpus, "cpu"))
    if (const auto khz = facts.number(kCpus + cpu + "/cpufreq/scaling_cur_freq")) mhz.push_back(*khz / 1000);
  const auto info = facts.text("/proc/cpuinfo");
  if (mhz.empty() && info) {
    std::istringstream lines(*info);
    for (std::string line; std::getline(lines, line);)
      if (line.starts_with("cpu MHz")) mhz.push_back(std::atof(line.c_str() + line.find(':') + 1));
  }
  mhz.empty() ? facts.unknown("clock_mhz", "neither cpufreq nor /proc/cpuinfo tells")
              : facts.set("clock_mhz", median(mhz));
}

void add_throttling(Facts& facts) {
  double events = 0;
  bool any = false;
  for (const std::string& cpu : facts.names(kCpus, "cpu"))
    if (const auto count = facts.number(kCpus + cpu + "/thermal_throttle/core_throttle_count")) {
      events += *count;
      any = true;
    }
  any ? facts.set("throttled", events) : facts.unknown("throttled", "this CPU has no core_throttle_count");
}

// "cpu  user nice system idle iowait irq softirq steal ..." in clock ticks.
void add_steal(Facts& facts) {
  const auto stat = facts.text("/proc/stat");
  std::istringstream words(stat ? *stat : "");
  std::string name;
  double sum = 0, steal = 0, ticks = 0;
  words >> name;
  int fields = 0;
  for (; fields < 8 && words >> ticks; ++fields) sum += steal = ticks;
  if (name != "cpu" || fields < 8) {
    for (const char* fact : {"cpu_s", "steal_s"})
      facts.unknown(fact, stat ? "/proc/stat has no steal time" : stat.error().what);
    return;
  }
  const auto per_second = static_cast<double>(::sysconf(_SC_CLK_TCK));
  facts.set("cpu_s", sum / per_second);
  facts.set("steal_s", steal / per_second);
}

void add_temperature(Facts& facts) {
  const std::string zones = "/sys/class/thermal/";
  std::vector<double> celsius;
  for (const std::string& zone : facts.names(zones, "thermal_zone"))
    if (const auto milli = facts.number(zones + zone + "/temp")) celsius.push_back(*milli / 1000);
  celsius.empty() ? facts.unknown("temperature_c", "no thermal zone tells")
                  : facts.set("temperature_c", *std::max_element(celsius.begin(), celsius.end()));
}

Json difference(const Json& before, const Json& after, const char* name) {
  const Json a = before.value(name, Json()), b = after.value(name, Json());
  return a.is_number() && b.is_number() ? Json(b.get<double>() - a.get<double>()) : Json();
}

}  // namespace

Json conditions_now(const std::filesystem::path& root) {
  Facts facts(root);
  add_clock(facts);
  add_throttling(facts);
  add_steal(facts);
  facts.set_or_why("load", facts.number("/proc/loadavg"));
  add_temperature(facts);
  return std::move(facts).finish();
}

Json conditions_between(const Json& before, const Json& after) {
  const Json cpu = difference(before, after, "cpu_s"), steal = difference(before, after, "steal_s");
  const bool known = cpu.is_number() && steal.is_number() && cpu.get<double>() > 0;
  return {{"before", before},
          {"after", after},
          {"throttled", difference(before, after, "throttled")},
          {"steal_share", known ? Json(steal.get<double>() / cpu.get<double>()) : Json()}};
}

Result<std::uint64_t> peak_memory_bytes() {
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) != 0 || usage.ru_maxrss <= 0)
    return Error{Errc::unsupported, "getrusage does not tell"};
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
}

Result<std::uint64_t> peak_memory_bytes(pid_t process) {
  const std::string path = "/proc/" + std::to_string(process) + "/status";
  DGQ_TRY(const std::string text, Facts("/").text(path));
  constexpr std::string_view kPeak = "VmHWM:";
  const std::size_t at = text.find(kPeak);
  const std::uint64_t kib =
      at == text.npos ? 0 : std::strtoull(text.c_str() + at + kPeak.size(), nullptr, 10);
  if (kib == 0) return Error{Errc::unsupported, path + " does not tell"};
  return kib * 1024;
}

}  // namespace dgq::bench
