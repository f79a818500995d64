// report/chart.h - charts as SVG: data and labels in, text out. Pure functions; nothing is fetched or looked up.
//
// A chart is an <svg> element 480 by 300 units, made to be read at 360 to 700 pixels: it has a title, axes with ticks, a legend
// when there is more than one series, and a tooltip on each bar and point. Text is escaped. Numbers that an axis cannot show
// (NaN, infinite, not above 0 on a log scale) leave a gap; without any the chart says so. Colours come from the page's style
// sheet (report/html.h) or from svg_file(), for light and dark; series differ in shape and dash as well.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "report/scale.h"

namespace dgq {

inline constexpr int kChartWidth = 480, kChartHeight = 300;

struct Axis {
  std::string label;  // with the unit
  ScaleKind scale = ScaleKind::linear;
};

// y over x. low and high are bounds of y (an interval): empty, or one for each y.
struct XySeries {
  enum class Style {
    line,
    points,
    band
  };  // band: a line with low..high as an area; the others: as error bars
  std::string name;
  std::vector<double> x, y;
  std::vector<double> low, high;
  Style style = Style::line;
};
struct XyChart {
  std::string title;
  Axis x, y;
  std::vector<XySeries> series;
};
std::string draw(const XyChart& chart);

// One value for each category; low and high as above (not drawn when stacked).
struct BarSeries {
  std::string name;
  std::vector<double> values;
  std::vector<double> low, high;
};
struct BarChart {
  std::string title;
  std::vector<std::string> categories;
  Axis y;  // from_zero, or log, where bars stand on the lower end
  std::vector<BarSeries> series;
  bool stacked = false;  // on top of one another, values >= 0; else side by side
};
std::string draw(const BarChart& chart);

// A file of its own from charts, one below the other.
std::string svg_file(std::span<const std::string> charts);

}  // namespace dgq
