#include "report/scale.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

namespace dgq {
namespace {

std::vector<std::string> labels(ScaleKind kind, const std::vector<double>& values) {
  std::vector<std::string> out;
  const Scale scale(kind, values);
  for (const Tick& tick : scale.ticks()) out.push_back(tick.label);
  return out;
}
using Labels = std::vector<std::string>;

TEST(Scale, TicksAreRoundNumbers) {
  EXPECT_EQ(labels(ScaleKind::linear, {3.1, 17}), (Labels{"0", "5", "10", "15", "20"}));
  EXPECT_EQ(labels(ScaleKind::linear, {-0.3, 0.45}), (Labels{"-0.4", "-0.2", "0", "0.2", "0.4", "0.6"}));
  EXPECT_EQ(labels(ScaleKind::linear, {1000000.1, 1000000.4}),
            (Labels{"1000000.1", "1000000.2", "1000000.3", "1000000.4"}));
  EXPECT_EQ(labels(ScaleKind::from_zero, {80, 100}), (Labels{"0", "20", "40", "60", "80", "100"}));
  EXPECT_EQ(labels(ScaleKind::from_zero, {-7, -1}), (Labels{"-8", "-6", "-4", "-2", "0"}));
  EXPECT_EQ(labels(ScaleKind::integer, {0, 1}), (Labels{"0", "1"}));
  EXPECT_EQ(labels(ScaleKind::integer, {3, 24}), (Labels{"5", "10", "15", "20"}));
  EXPECT_EQ(labels(ScaleKind::integer, {4}), (Labels{"4"}));
  EXPECT_EQ(labels(ScaleKind::log, {0.0011, 40}), (Labels{"0.001", "0.01", "0.1", "1", "10"}));
  EXPECT_EQ(labels(ScaleKind::log, {3, 60}), (Labels{"2", "5", "10", "20", "50", "100"}));
  EXPECT_EQ(labels(ScaleKind::log, {1e-9, 1e9}).size(), 7u);
}

TEST(Scale, NothingOnePointAndNumbersThatAreNone) {
  for (const ScaleKind kind : {ScaleKind::linear, ScaleKind::from_zero, ScaleKind::integer, ScaleKind::log}) {
    EXPECT_EQ(Scale(kind, {}).ticks().back().label, kind == ScaleKind::log ? "10" : "1");
    const std::vector<double> odd = {NAN, INFINITY, -INFINITY};
    EXPECT_EQ(Scale(kind, odd).ticks().size(), Scale(kind, {}).ticks().size());
    const std::vector<double> one = {5};
    const Scale alone(kind, one);
    EXPECT_GE(alone.at(5), 0);
    EXPECT_LE(alone.at(5), 1);
  }
  const std::vector<double> mixed = {-1, 0, 2};
  const Scale log(ScaleKind::log, mixed);
  EXPECT_FALSE(log.shows(0));
  EXPECT_FALSE(log.shows(-1));
  EXPECT_GT(log.ticks().front().value, 0.5);
}

// Whatever the numbers: ticks ascend, are few, are labelled differently, and the scale spans all that it can show.
TEST(Scale, HoldsForNumbersOfEverySize) {
  const double kMax = std::numeric_limits<double>::max(), kMin = std::numeric_limits<double>::denorm_min();
  const std::vector<std::vector<double>> sets = {{kMax, -kMax},
                                                 {kMax, 1},
                                                 {kMin, 1},
                                                 {kMin, kMax},
                                                 {1e300, 1e300 * (1 + 1e-15)},
                                                 {0, kMin},
                                                 {1, 1 + 1e-12},
                                                 {0.1, 0.1, 0.1},
                                                 {-1e-9, 1e9},
                                                 {1e-320, 1e-310},
                                                 {123456789, 123456790},
                                                 {7, 7.000001}};
  for (const auto& values : sets)
    for (const ScaleKind kind :
         {ScaleKind::linear, ScaleKind::from_zero, ScaleKind::integer, ScaleKind::log}) {
      const Scale scale(kind, values);
      const auto& ticks = scale.ticks();
      ASSERT_GE(ticks.size(), kind == ScaleKind::integer ? 1u : 2u) << values[0];
      ASSERT_LE(ticks.size(), 12u) << values[0];
      std::set<std::string> texts;
      for (std::size_t i = 0; i < ticks.size(); ++i) {
        EXPECT_TRUE(std::isfinite(ticks[i].value));
        if (i > 0) {
          EXPECT_GT(ticks[i].value, ticks[i - 1].value) << values[0];
        }
        texts.insert(ticks[i].label);
        EXPECT_NEAR(scale.at(ticks[i].value), std::clamp(scale.at(ticks[i].value), 0.0, 1.0), 1e-6)
            << values[0];
      }
      EXPECT_EQ(texts.size(), ticks.size()) << values[0] << " " << ticks[0].label;
      for (const double value : values) {
        if (!scale.shows(value)) continue;
        EXPECT_GE(scale.at(value), -1e-6) << values[0] << " " << value;
        EXPECT_LE(scale.at(value), 1 + 1e-6) << values[0] << " " << value;
      }
    }
}

}  // namespace
}  // namespace dgq
