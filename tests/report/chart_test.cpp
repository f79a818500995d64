#include "report/chart.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

#include "tests/support/xml.h"

namespace dgq {
namespace {

using test::XmlElement;

XmlElement parsed(const std::string& svg) {
  std::string fault;
  const auto root = test::XmlReader::read(svg, fault);
  EXPECT_TRUE(root) << fault;
  return root.value_or(XmlElement{});
}

// Every coordinate lies in the chart.
void expect_inside(const XmlElement& chart) {
  const auto check = [](const std::string& text, int limit) {
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    EXPECT_EQ(*end, '\0') << text;
    EXPECT_GE(value, -1) << text;
    EXPECT_LE(value, limit + 1) << text;
  };
  for (const char* name : {"text", "line", "rect", "circle"})
    for (const XmlElement* element : chart.all(name))
      for (const auto& [key, value] : element->attributes) {
        if (key[0] == 'x' || key == "cx" || key == "width") check(value, kChartWidth);
        if (key[0] == 'y' || key == "cy" || key == "height") check(value, kChartHeight);
      }
  for (const char* name : {"polyline", "polygon"})
    for (const XmlElement* element : chart.all(name)) {
      std::istringstream points(element->attributes.at("points"));
      for (std::string point; points >> point;) {
        check(point.substr(0, point.find(',')), kChartWidth);
        check(point.substr(point.find(',') + 1), kChartHeight);
      }
    }
}

double number(const XmlElement& element, const char* key) { return std::stod(element.attributes.at(key)); }

std::vector<std::string> texts(const XmlElement& chart, const char* css) {
  std::vector<std::string> out;
  for (const XmlElement* text : chart.all("text", css)) out.push_back(text->text);
  return out;
}

XyChart two_lines() {
  XyChart chart{"Error", {"layer", ScaleKind::integer}, {"error", ScaleKind::log}, {}};
  chart.series.push_back({"q", {0, 1, 2, 3}, {0.1, 0.01, 0.001, 0.01}, {}, {}});
  chart.series.push_back({"k", {0, 1, 2, 3}, {1, 0.5, 0.2, 0.1}, {}, {}});
  return chart;
}

TEST(XyChart, PointsStandWhereTheAxesSay) {
  const XmlElement chart = parsed(draw(two_lines()));
  expect_inside(chart);
  EXPECT_EQ(chart.attributes.at("aria-label"), "Error");
  EXPECT_EQ(texts(chart, "title"), std::vector<std::string>{"Error"});
  EXPECT_EQ(texts(chart, "tick"),
            (std::vector<std::string>{"0.001", "0.01", "0.1", "1", "0", "1", "2", "3"}));
  EXPECT_EQ(texts(chart, "label"), (std::vector<std::string>{"q", "k", "error", "layer"}));
  EXPECT_EQ(chart.all("polyline").size(), 2u);
  std::vector<const XmlElement*> points;
  for (const XmlElement* circle : chart.all("circle", "s0"))
    if (!circle->children.empty()) points.push_back(circle);  // not the legend's
  ASSERT_EQ(points.size(), 4u);
  EXPECT_EQ(points[2]->text, "q, 2: 0.001");
  // A decade is as high as another, a layer as wide; 0.001 is the axis.
  const double axis = number(*chart.all("line", "axis")[0], "y1");
  EXPECT_NEAR(number(*points[2], "cy"), axis, 0.11);
  EXPECT_NEAR(number(*points[1], "cy") - number(*points[0], "cy"), axis - number(*points[1], "cy"), 0.3);
  EXPECT_NEAR(number(*points[1], "cx") - number(*points[0], "cx"),
              number(*points[3], "cx") - number(*points[2], "cx"), 0.3);
}

TEST(XyChart, NumbersThatCannotBeShownLeaveGaps) {
  XyChart chart = two_lines();
  chart.series[0].y = {0.1, NAN, 0, 0.01};
  chart.series[1].y = {1, 0.5};  // shorter than x
  const XmlElement drawn = parsed(draw(chart));
  expect_inside(drawn);
  EXPECT_EQ(drawn.all("polyline", "s0").size(), 2u);
  EXPECT_EQ(drawn.all("polyline", "s1").size(), 1u);
  for (XySeries& series : chart.series) series.y.assign(4, NAN);
  EXPECT_EQ(texts(parsed(draw(chart)), "middle").back(), "no data");
  chart.series.clear();
  EXPECT_EQ(texts(parsed(draw(chart)), "middle").back(), "no data");
}

TEST(XyChart, IntervalsAndBands) {
  XyChart chart{"", {}, {}, {}};
  chart.series.push_back({"a", {1, 2}, {5, 6}, {4, 5}, {7, NAN}, XySeries::Style::points});
  const XmlElement points = parsed(draw(chart));
  expect_inside(points);
  EXPECT_EQ(points.all("line", "interval").size(), 3u);  // of the one that has both ends
  EXPECT_EQ(points.all("polyline").size(), 0u);
  chart.series[0].style = XySeries::Style::band;
  chart.series[0].high[1] = 9;
  const XmlElement band = parsed(draw(chart));
  expect_inside(band);
  ASSERT_EQ(band.all("polygon", "band").size(), 1u);
  const std::string& area = band.all("polygon", "band")[0]->attributes.at("points");
  EXPECT_EQ(std::count(area.begin(), area.end(), ','), 4);
  EXPECT_EQ(band.all("line", "interval").size(), 0u);
}

TEST(XyChart, OnePointManyPointsManySeries) {
  XyChart chart{"", {"", ScaleKind::log}, {}, {}};
  chart.series.push_back({"", {3}, {4}, {}, {}});
  EXPECT_EQ(parsed(draw(chart)).all("circle").size(), 1u);  // and no legend
  chart.series[0].x.resize(1000, 2);
  chart.series[0].y.resize(1000, 3);
  EXPECT_EQ(parsed(draw(chart)).all("circle").size(), 0u);  // a line only
  for (int i = 0; i < 11; ++i) chart.series.push_back({"a long name " + std::to_string(i), {1}, {2}, {}, {}});
  const XmlElement many = parsed(draw(chart));
  expect_inside(many);
  EXPECT_EQ(many.all("polyline", "s3").size(), 2u);  // colours start again
}

TEST(XyChart, LongNamesAndLegendsLeaveRoomForTheData) {
  XyChart chart{std::string(300, 't'), {}, {}, {}};
  for (int i = 0; i < 200; ++i)
    chart.series.push_back({std::string(200, 'n') + "\u00e9" + std::to_string(i), {1, 2}, {1, 2}, {}, {}});
  const XmlElement drawn = parsed(draw(chart));
  expect_inside(drawn);
  const std::vector<std::string> labels = texts(drawn, "label");
  EXPECT_EQ(labels[0].substr(0, 4), "...n");
  EXPECT_EQ(labels[0].substr(labels[0].size() - 3),
            "\u00e9"
            "0");
  EXPECT_LT(labels[0].size(), 80u);
  EXPECT_NE(std::find(labels.begin(), labels.end(), "and 195 more"), labels.end());
  EXPECT_GT(number(*drawn.all("line", "axis")[0], "y1") - number(*drawn.all("line", "grid")[3], "y1"), 20);
}

BarChart bars(bool stacked) {
  BarChart chart;
  chart.title = "Size";
  chart.categories = {"q", "k", "v"};
  chart.y = {"MB", ScaleKind::from_zero};
  chart.series.push_back({"w4", {4, 2, NAN}, {}, {}});
  chart.series.push_back({"w6", {1, 0, 3}, {}, {}});
  chart.stacked = stacked;
  return chart;
}

TEST(BarChart, StandsOnZeroSideBySide) {
  const XmlElement chart = parsed(draw(bars(false)));
  expect_inside(chart);
  const auto first = chart.all("rect", "s0"), second = chart.all("rect", "s1");
  ASSERT_EQ(first.size(), 1u + 2);  // with the legend
  ASSERT_EQ(second.size(), 1u + 3);
  EXPECT_NEAR(number(*first[1], "height"), 2 * number(*first[2], "height"), 0.2);
  EXPECT_NEAR(number(*first[1], "y") + number(*first[1], "height"),
              number(*second[1], "y") + number(*second[1], "height"), 0.2);
  EXPECT_GE(number(*second[1], "x"), number(*first[1], "x") + number(*first[1], "width") - 0.2);
  EXPECT_EQ(first[1]->text, "w4, q: 4");
}

TEST(BarChart, StacksAddUp) {
  const XmlElement chart = parsed(draw(bars(true)));
  expect_inside(chart);
  const auto first = chart.all("rect", "s0"), second = chart.all("rect", "s1");
  ASSERT_EQ(second.size(), 1u + 2);  // 0 is nothing to draw
  EXPECT_NEAR(number(*second[1], "y") + number(*second[1], "height"), number(*first[1], "y"), 0.2);
  EXPECT_EQ(second[1]->attributes.at("x"), first[1]->attributes.at("x"));
  EXPECT_NEAR(number(*second[1], "height") * 4, number(*first[1], "height"), 0.5);
}

TEST(BarChart, OddNumbersAndNothing) {
  const double kMax = std::numeric_limits<double>::max();
  for (const bool stacked : {false, true})
    for (const ScaleKind kind : {ScaleKind::from_zero, ScaleKind::log, ScaleKind::linear}) {
      BarChart chart = bars(stacked);
      chart.y.scale = kind;
      chart.series[0].values = {kMax, -kMax, INFINITY};
      chart.series[1] = {"b", {kMax, 1e-300, 5}, {1, 2}, {kMax, 3}};
      expect_inside(parsed(draw(chart)));
      chart.series.clear();
      EXPECT_EQ(texts(parsed(draw(chart)), "middle").back(), "no data");
      chart.categories.clear();
      EXPECT_EQ(texts(parsed(draw(chart)), "middle").back(), "no data");
    }
}

TEST(BarChart, ManyCategoriesAreLabelledAsFarAsThereIsRoom) {
  BarChart chart;
  chart.series.resize(1);
  for (int i = 0; i < 200; ++i)
    chart.categories.push_back("layer " + std::to_string(i)), chart.series[0].values.push_back(i);
  const XmlElement drawn = parsed(draw(chart));
  expect_inside(drawn);
  EXPECT_EQ(drawn.all("rect").size(), 199u + 1);
  double last = -100;
  for (const XmlElement* tick : drawn.all("text", "middle")) {
    if (tick->text.empty()) continue;
    EXPECT_GE(number(*tick, "x"), last + 7 * 6) << tick->text;
    last = number(*tick, "x");
  }
}

TEST(Charts, EveryTextIsEscaped) {
  const std::string evil = "</svg><script>alert(\"1\")</script>&'\x01\xff";
  XyChart xy{evil, {evil}, {evil}, {{evil, {1}, {1}, {}, {}}, {evil, {1}, {1}, {}, {}}}};
  BarChart bar;
  bar.title = bar.y.label = evil;
  bar.categories = {evil};
  for (int i = 0; i < 2; ++i) bar.series.push_back({evil, {1}, {}, {}});
  for (const std::string& svg : {draw(xy), draw(bar)}) {
    const XmlElement chart = parsed(svg);
    EXPECT_TRUE(chart.all("script").empty());
    EXPECT_NE(chart.attributes.at("aria-label").find("</svg><script>"), std::string::npos);
  }
}

TEST(SvgFile, ChartsOneBelowTheOther) {
  const std::vector<std::string> charts = {draw(two_lines()), draw(bars(true))};
  const XmlElement file = parsed(svg_file(charts));
  EXPECT_EQ(file.name, "svg");
  EXPECT_EQ(file.all("svg", "chart").size(), 2u);
  EXPECT_EQ(file.all("style").size(), 1u);
  EXPECT_GE(number(file, "height"), 2 * kChartHeight);
  for (const XmlElement* element : file.all("svg"))
    EXPECT_EQ(element->attributes.at("xmlns"), "http://www.w3.org/2000/svg");
}

}  // namespace
}  // namespace dgq
