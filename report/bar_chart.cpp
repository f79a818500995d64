#include <algorithm>
#include <cmath>
#include <limits>

#include "report/frame.h"
#include "report/text.h"

namespace dgq {
namespace {

// The value of a series at a category; NaN where it has none.
double value_at(const std::vector<double>& values, std::size_t category) {
  return category < values.size() ? values[category] : std::nan("");
}

// What the y axis has to span.
std::vector<double> spanned(const BarChart& chart) {
  std::vector<double> all;
  for (const BarSeries& series : chart.series)
    for (const auto* values : {&series.values, &series.low, &series.high})
      if (!chart.stacked) all.insert(all.end(), values->begin(), values->end());
  if (!chart.stacked) return all;
  for (std::size_t c = 0; c < chart.categories.size(); ++c) {
    double sum = 0;
    for (const BarSeries& series : chart.series)
      if (const double value = value_at(series.values, c); std::isfinite(value))
        sum = std::min(sum + std::max(value, 0.0), std::numeric_limits<double>::max());
    all.push_back(sum);
  }
  return all;
}

class Bars {
 public:
  Bars(Frame& frame, const BarChart& chart, const Scale& y)
      : frame_(frame),
        chart_(chart),
        y_(y),
        slot_(1 / static_cast<double>(std::max<std::size_t>(1, chart.categories.size()))) {}

  // Those for which there is room beside the one before.
  void label_categories() const {
    constexpr double kGap = 4;
    double taken = -kChartWidth;
    for (std::size_t c = 0; c < chart_.categories.size(); ++c) {
      const std::string& label = chart_.categories[c];
      const double x = frame_.plot().x((static_cast<double>(c) + 0.5) * slot_), half = text_width(label) / 2;
      if (x - half < taken + kGap) continue;
      frame_.x_tick(x, label, false);
      taken = x + half;
    }
  }

  // Whether there was anything to draw.
  bool draw() const {
    bool any = false;
    for (std::size_t c = 0; c < chart_.categories.size(); ++c)
      any = (chart_.stacked ? stack(c) : side_by_side(c)) || any;
    return any;
  }

 private:
  static constexpr double kFilled = 0.8;  // of a category's width

  void bar(std::size_t series, std::size_t category, double left, double width, double from,
           double to) const {
    const Plot& plot = frame_.plot();
    // A scale that does not reach down to 0 cuts bars off.
    const double top = plot.y(std::clamp(std::max(from, to), 0.0, 1.0));
    const double bottom = plot.y(std::clamp(std::min(from, to), 0.0, 1.0));
    frame_.add("<rect x=\"" + coordinate(plot.x(left)) + "\" y=\"" + coordinate(top) + "\" width=\"" +
               coordinate(std::max(0.5, plot.width * width)) + "\" height=\"" + coordinate(bottom - top) +
               "\"" + series_class(series, "bar") + ">" +
               tooltip(chart_.series[series].name, chart_.categories[category],
                       short_number(chart_.series[series].values[category])) +
               "</rect>\n");
  }

  // Where bars stand: at 0, on a log scale at its lower end.
  double ground() const { return y_.shows(0) ? y_.at(0) : 0; }

  bool side_by_side(std::size_t c) const {
    const double width = kFilled * slot_ / static_cast<double>(chart_.series.size());
    bool any = false;
    for (std::size_t s = 0; s < chart_.series.size(); ++s) {
      const BarSeries& series = chart_.series[s];
      const double value = value_at(series.values, c);
      if (!y_.shows(value)) continue;
      const double left =
          (static_cast<double>(c) + (1 - kFilled) / 2) * slot_ + width * static_cast<double>(s);
      bar(s, c, left, width, ground(), y_.at(value));
      frame_.interval(s, frame_.plot().x(left + width / 2), y_, value_at(series.low, c),
                      value_at(series.high, c));
      any = true;
    }
    return any;
  }

  bool stack(std::size_t c) const {
    double sum = 0;
    for (std::size_t s = 0; s < chart_.series.size(); ++s) {
      const double value = value_at(chart_.series[s].values, c);
      if (!std::isfinite(value) || value <= 0) continue;
      bar(s, c, (static_cast<double>(c) + (1 - kFilled) / 2) * slot_, kFilled * slot_,
          sum > 0 ? y_.at(sum) : ground(), y_.at(sum + value));
      sum += value;
    }
    return sum > 0;
  }

  Frame& frame_;
  const BarChart& chart_;
  const Scale& y_;
  double slot_;  // of a category, as a share of the plot's width
};

}  // namespace

std::string draw(const BarChart& chart) {
  const Scale y(chart.y.scale, spanned(chart));
  std::vector<std::string> names;
  for (const BarSeries& series : chart.series) names.push_back(series.name);
  Frame frame(chart.title, chart.y, y, "", names, false);
  const Bars bars(frame, chart, y);
  bars.label_categories();
  if (!bars.draw()) frame.say_empty();
  return std::move(frame).finish();
}

}  // namespace dgq
