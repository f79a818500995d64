// bench/energy.h - how much energy the machine takes while something runs: RAPL counters (powercap), else hwmon, else a power that
// the user has measured.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace dgq::bench {

class EnergyMeter {
 public:
  // watts: of the whole machine, when nothing better can be read. unsupported: there is nothing to read, says what was tried.
  static Result<EnergyMeter> open(std::optional<double> watts, const std::filesystem::path& root = "/");

  // Since open(). Power sensors are integrated between calls, so call at both ends of what is measured; counters of RAPL wrap after
  // minutes under load, so call more often than that.
  double joules();
  const std::string& source() const { return source_; }  // "powercap package-0", "hwmon power1", "--watts"

 private:
  struct Counter {
    std::filesystem::path file;
    double joules_per_unit, wraps_at;  // in units; 0: does not
    double last;
  };
  EnergyMeter() = default;
  std::vector<Counter> counters_;
  std::filesystem::path power_;  // in microwatts
  double watts_ = 0, last_s_ = 0, total_ = 0;
  std::string source_;
};

}  // namespace dgq::bench
