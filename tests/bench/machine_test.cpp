// Facts read from trees of files like /proc and /sys.
#include "bench/machine.h"

#include <gtest/gtest.h>

#include "bench/build.h"
#include "bench/conditions.h"
#include "bench/energy.h"
#include "tests/support/command.h"

namespace dgq::bench {
namespace {

class FakeRoot : public testing::Test {
 protected:
  void put(const std::string& path, const std::string& text) {
    const auto file = root_ / path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  const std::filesystem::path& root() const { return root_.path(); }
  test::ScratchFolder root_;
};

TEST_F(FakeRoot, OfABoard) {
  const std::string cpus = "sys/devices/system/cpu/";
  for (int i = 0; i < 4; ++i)
    put(cpus + "cpu" + std::to_string(i) + "/topology/thread_siblings_list", i < 2 ? "0-1\n" : "2-3\n");
  put(cpus + "cpu0/cache/index0/level", "1\n");
  put(cpus + "cpu0/cache/index0/type", "Data\n");
  put(cpus + "cpu0/cache/index0/size", "32K\n");
  put(cpus + "cpu0/cpufreq/scaling_governor", "ondemand\n");
  put("proc/meminfo", "MemTotal:        8000000 kB\nMemFree: 1 kB\n");
  put("proc/device-tree/model", std::string("Board 5\0", 8));
  put("etc/os-release", "NAME=x\nPRETTY_NAME=\"Some OS 1\"\n");
  put("run/.containerenv", "");
  const Json facts = machine_facts(root());
  EXPECT_EQ(facts["cores"], 2);
  EXPECT_EQ(facts["threads"], 4);
  EXPECT_EQ(facts["smt"], true);
  EXPECT_EQ(facts["caches"][0]["bytes"], 32768);
  EXPECT_EQ(facts["governor"], "ondemand");
  EXPECT_EQ(facts["memory_bytes"], 8192000000);
  EXPECT_EQ(facts["board"], "Board 5");
  EXPECT_EQ(facts["os"], "Some OS 1");
  EXPECT_EQ(facts["container"], "podman");
  EXPECT_TRUE(facts["huge_pages"].is_null());
  EXPECT_TRUE(facts["unknown"].contains("huge_pages"));
}

TEST_F(FakeRoot, WithoutAnythingHasReasons) {
  const Json facts = machine_facts(root()), conditions = conditions_now(root());
  for (const char* fact : {"cores", "caches", "governor", "memory_bytes", "numa_nodes", "board"}) {
    EXPECT_TRUE(facts[fact].is_null()) << fact;
    EXPECT_NE(facts["unknown"].value(fact, ""), "") << fact;
  }
  for (const char* fact : {"clock_mhz", "throttled", "steal_s", "load", "temperature_c"}) {
    EXPECT_TRUE(conditions[fact].is_null()) << fact;
    EXPECT_NE(conditions["unknown"].value(fact, ""), "") << fact;
  }
  EXPECT_TRUE(conditions_between(conditions, conditions)["steal_share"].is_null());
}

TEST_F(FakeRoot, Conditions) {
  const std::string cpus = "sys/devices/system/cpu/";
  put(cpus + "cpu0/cpufreq/scaling_cur_freq", "1500000\n");
  put(cpus + "cpu0/thermal_throttle/core_throttle_count", "3\n");
  put(cpus + "cpu1/thermal_throttle/core_throttle_count", "4\n");
  put("proc/stat", "cpu  100 0 100 700 0 0 0 100 0 0\ncpu0 1\n");
  put("proc/loadavg", "1.50 1 1 1/100 5\n");
  put("sys/class/thermal/thermal_zone0/temp", "61000\n");
  const Json before = conditions_now(root());
  EXPECT_EQ(before["clock_mhz"], 1500);
  EXPECT_EQ(before["throttled"], 7);
  EXPECT_EQ(before["load"], 1.5);
  EXPECT_EQ(before["temperature_c"], 61);
  put("proc/stat", "cpu  200 0 200 1000 0 0 0 300 0 0\ncpu0 1\n");
  put(cpus + "cpu1/thermal_throttle/core_throttle_count", "9\n");
  const Json both = conditions_between(before, conditions_now(root()));
  EXPECT_EQ(both["throttled"], 5);
  EXPECT_NEAR(both["steal_share"].get<double>(), 200.0 / 700, 1e-9);
}

TEST_F(FakeRoot, EnergyOfRapl) {
  const std::string zone = "sys/class/powercap/intel-rapl:0/";
  put(zone + "name", "package-0\n");
  put(zone + "energy_uj", "1000000\n");
  put(zone + "max_energy_range_uj", "10000000\n");
  put("sys/class/powercap/intel-rapl:0:0/name", "core\n");
  auto meter = EnergyMeter::open(std::nullopt, root());
  ASSERT_TRUE(meter) << meter.error().what;
  EXPECT_EQ(meter->source(), "powercap package-0");
  put(zone + "energy_uj", "9000000\n");
  EXPECT_NEAR(meter->joules(), 8, 1e-9);
  put(zone + "energy_uj", "2000000\n");  // it wrapped
  EXPECT_NEAR(meter->joules(), 11, 1e-9);
}

TEST_F(FakeRoot, EnergyOfOtherSources) {
  const auto none = EnergyMeter::open(std::nullopt, root());
  ASSERT_FALSE(none);
  EXPECT_NE(none.error().what.find("--watts"), std::string::npos) << none.error().what;
  auto given = EnergyMeter::open(5.0, root());
  ASSERT_TRUE(given);
  EXPECT_EQ(given->source(), "--watts");
  EXPECT_GE(given->joules(), 0);
  put("sys/class/hwmon/hwmon0/name", "ina3221\n");
  put("sys/class/hwmon/hwmon0/energy1_input", "5000000\n");
  auto counter = EnergyMeter::open(5.0, root());
  ASSERT_TRUE(counter);
  EXPECT_EQ(counter->source(), "hwmon ina3221 energy1_input");
  put("sys/class/hwmon/hwmon0/energy1_input", "7000000\n");
  EXPECT_NEAR(counter->joules(), 2, 1e-9);
}

TEST(Machine, ThisOneAndThisBuild) {
  const Json machine = machine_facts(), build = build_facts();
  EXPECT_NE(machine_name(machine), "");
  EXPECT_TRUE(build["compiler"].is_string());
  EXPECT_TRUE(build["flags"].is_string());
  EXPECT_TRUE(peak_memory_bytes());
}

}  // namespace
}  // namespace dgq::bench
