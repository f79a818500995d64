#include "bench/compare.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "bench/interleave.h"
#include "tests/support/paths.h"

namespace dgq::bench {
namespace {

Run run_of(std::vector<double> samples, int threads = 2) {
  bench::Run run;
  run.kind = "model";
  run.machine = {{"cpu", "Test CPU"}};
  run.settings = {{"isa", "ref"}};
  RunRow row;
  row.of = {{"test", "tg8"}, {"n_threads", threads}, {"model", "m"}};
  row.unit = "tokens/s";
  row.samples = std::move(samples);
  run.rows = {row};
  return run;
}

bool mentions(const std::vector<std::string>& list, const std::string& words) {
  for (const std::string& line : list)
    if (line.find(words) != std::string::npos) return true;
  return false;
}

TEST(Compare, FindsWhatIsSlower) {
  const Comparison same =
      compare({run_of({10, 11, 12, 10.5, 11.5})}, {run_of({10.2, 11.2, 12.2, 10.7, 11.7})});
  ASSERT_EQ(same.rows.size(), 1u);
  EXPECT_FALSE(same.rows[0].significant);
  EXPECT_EQ(same.rows[0].test, "Mann-Whitney U");
  const Comparison slower = compare({run_of({10, 11, 12, 10.5, 11.5})}, {run_of({5, 5.5, 6, 5.2, 5.3})});
  ASSERT_EQ(slower.rows.size(), 1u);
  EXPECT_TRUE(slower.rows[0].significant);
  EXPECT_NEAR(slower.rows[0].speed, 5.3 / 11, 1e-9);
  EXPECT_LT(slower.rows[0].speed_interval.low, slower.rows[0].speed);
  EXPECT_GT(slower.rows[0].speed_interval.high, slower.rows[0].speed);
}

TEST(Compare, TimesAreTurnedIntoSpeeds) {
  bench::Run a = run_of({2, 2.1, 2.2, 2.3, 2.4}), b = run_of({1, 1.1, 1.2, 1.3, 1.4});
  for (bench::Run* run : {&a, &b}) run->rows[0].more_is_better = false;
  const Comparison comparison = compare({a}, {b});
  ASSERT_EQ(comparison.rows.size(), 1u);
  EXPECT_NEAR(comparison.rows[0].speed, 2.2 / 1.2, 1e-9) << "half the time is faster";
}

TEST(Compare, DifferentThreadsAreNotComparable) {
  const Comparison comparison = compare({run_of({1, 2, 3}, 2)}, {run_of({1, 2, 3}, 1)});
  EXPECT_TRUE(comparison.rows.empty());
  EXPECT_TRUE(mentions(comparison.not_comparable, "different threads: not comparable (2 and 1)"));
}

TEST(Compare, RowsThatOneSideLacks) {
  bench::Run a = run_of({1, 2, 3}), b = run_of({1, 2, 3});
  a.rows[0].of["test"] = "pp16";
  b.rows[0].of["test"] = "tg4";
  const Comparison comparison = compare({a}, {b});
  EXPECT_TRUE(comparison.rows.empty() && comparison.not_comparable.empty());
  EXPECT_TRUE(mentions(comparison.only_in_a, "pp16"));
  EXPECT_TRUE(mentions(comparison.only_in_b, "tg4"));
}

TEST(Compare, DifferencesOfTheSetUpAreCalledOut) {
  bench::Run a = run_of({1, 2, 3}), b = run_of({1, 2, 3});
  b.settings["isa"] = "avx2";
  b.machine["governor"] = "powersave";
  b.build["commit"] = "abc";
  b.rows[0].of["model"] = "other";
  b.conditions = {{"throttled", 3}, {"steal_share", 0.25}};
  const Comparison comparison = compare({a}, {b});
  ASSERT_EQ(comparison.rows.size(), 1u);
  for (const char* words :
       {"isa: ref and avx2", "governor: - and powersave", "commit: - and abc", "model: m and other",
        "throttled 3 times", "25 % of the CPU time from the second"})
    EXPECT_TRUE(mentions(comparison.differences, words)) << words;
}

TEST(Compare, SamplesBeforeTheWarmUpEndDoNotCount) {
  bench::Run a = run_of({1, 10, 11, 12});
  a.rows[0].warm_up = 1;
  EXPECT_EQ(compare({a}, {a}).rows[0].median_a, 11);
}

TEST(Compare, OfNothingOrOfZeros) {
  EXPECT_TRUE(compare({}, {}).rows.empty());
  EXPECT_TRUE(compare({run_of({1})}, {}).rows.empty());
  EXPECT_TRUE(mentions(compare({run_of({0, 1})}, {run_of({0, 1})}).not_comparable, "not above 0"));
}

TEST(Interleave, RoundsBecomeOneRun) {
  std::vector<bench::Run> rounds = {run_of({1, 2}), run_of({3, 4}), run_of({5, 6})};
  for (std::size_t i = 0; i < 3; ++i) {
    const auto n = static_cast<double>(i);
    rounds[i].seconds = 2;
    rounds[i].limits = {{"read", {{{"threads", 1}, {"gb_per_s", 10 + n}}}}};
    rounds[i].rows[0].figures = {{"of_read", 0.9 - 0.1 * n}, {"model_size", 7}, {"ttft_ms", nullptr}};
    rounds[i].conditions = {{"before", {{"cpu_s", 10 * n}, {"steal_s", n}}},
                            {"after", {{"cpu_s", 10 * n + 10}, {"steal_s", n + 1}}},
                            {"steal_share", 0.0},
                            {"peak_memory_bytes", i == 1 ? 900 : 800}};
  }
  const auto merged = merge_rounds(rounds);
  ASSERT_TRUE(merged) << merged.error().what;
  EXPECT_EQ(merged->rows[0].samples, (std::vector<double>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(merged->seconds, 6);
  EXPECT_EQ(merged->limits["read"].size(), 3u);
  EXPECT_EQ(merged->rows[0].figures, (Json{{"of_read", 0.9 - 0.1}, {"model_size", 7}, {"ttft_ms", nullptr}}));
  EXPECT_EQ(merged->conditions["steal_share"], 0.1) << "of all rounds, not of the first";
  EXPECT_EQ(merged->conditions["peak_memory_bytes"], 900);
  rounds.push_back(run_of({5}, 1));
  EXPECT_FALSE(merge_rounds(rounds)) << "another row";
}

// 20 times dgq compare --interleave of a build with itself, one after the other with none left out, on a shared virtual machine with two
// cores where twenty to forty processes wanted to run: smollm2-135m, tg8, one thread, 7 repetitions in each of 40 rounds. Single
// samples lie between 3 and 280 tokens/s.
class RecordedTurns : public testing::Test {
 protected:
  RecordedTurns() {
    std::ifstream file(test::source_folder() / "tests/bench/data/turns.json");
    std::stringstream text;
    text << file.rdbuf();
    recorded_ = Json::parse(text.str());
  }
  // Of how many the second is called slower or faster, when it is slowed down by `factor`.
  std::size_t significant(double factor) const {
    std::size_t count = 0;
    for (const Json& session : recorded_["sessions"]) {
      auto a = session["a"].get<std::vector<double>>(), b = session["b"].get<std::vector<double>>();
      for (double& sample : b) sample *= factor;
      const PairedSpeed speed = compare_rounds(a, b, recorded_["rounds"].get<std::size_t>(), true);
      count += speed.p < kAlpha && (factor == 1 || speed.speed < 1);
    }
    return count;
  }
  Json recorded_;
};

TEST_F(RecordedTurns, TheSameIsNotCalledDifferent) {
  ASSERT_EQ(recorded_["sessions"].size(), 20u);
  EXPECT_LE(significant(1), 1u);
}

TEST_F(RecordedTurns, TenPerCentSlowerIsFound) { EXPECT_GE(significant(0.9), 19u); }

}  // namespace
}  // namespace dgq::bench
