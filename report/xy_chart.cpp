#include <algorithm>

#include "report/frame.h"
#include "report/text.h"

namespace dgq {
namespace {

constexpr std::size_t kMarkedPoints = 64;  // a line with more of them is drawn without markers

void append(std::vector<double>& to, const std::vector<double>& values) {
  to.insert(to.end(), values.begin(), values.end());
}

// One series on its scales.
class Curve {
 public:
  Curve(Frame& frame, const XySeries& series, std::size_t index, const Scale& x, const Scale& y)
      : frame_(frame),
        series_(series),
        index_(index),
        x_(x),
        y_(y),
        size_(std::min(series.x.size(), series.y.size())) {}

  void draw() const {
    if (series_.style == XySeries::Style::band && bounded()) band();
    if (series_.style != XySeries::Style::points) line();
    if (series_.style == XySeries::Style::points || size_ <= kMarkedPoints) points();
  }

  bool shown(std::size_t i) const { return i < size_ && x_.shows(series_.x[i]) && y_.shows(series_.y[i]); }

 private:
  bool bounded() const { return series_.low.size() >= size_ && series_.high.size() >= size_; }
  bool bound_shown(std::size_t i) const {
    return i < size_ && x_.shows(series_.x[i]) && y_.shows(series_.low[i]) && y_.shows(series_.high[i]);
  }
  double x_at(std::size_t i) const { return frame_.plot().x(x_.at(series_.x[i])); }
  std::string at(std::size_t i, double y) const {
    return coordinate(x_at(i)) + "," + coordinate(frame_.plot().y(y_.at(y)));
  }

  // body(first, last) for each run of points that `test` accepts.
  template <class Test, class Body>
  void runs(const Test& test, const Body& body) const {
    for (std::size_t first = 0; first < size_; ++first) {
      std::size_t last = first;
      while (last < size_ && test(last)) ++last;
      if (last > first) body(first, last);
      first = last;
    }
  }

  void line() const {
    runs([&](std::size_t i) { return shown(i); },
         [&](std::size_t first, std::size_t last) {
           std::string points;
           for (std::size_t i = first; i < last; ++i) points += (i > first ? " " : "") + at(i, series_.y[i]);
           frame_.add("<polyline points=\"" + points + "\"" + series_class(index_, "line") + "/>\n");
         });
  }

  void band() const {
    runs([&](std::size_t i) { return bound_shown(i); },
         [&](std::size_t first, std::size_t last) {
           std::string points;
           for (std::size_t i = first; i < last; ++i) points += at(i, series_.high[i]) + " ";
           for (std::size_t i = last; i-- > first;) points += at(i, series_.low[i]) + (i > first ? " " : "");
           frame_.add("<polygon points=\"" + points + "\"" + series_class(index_, "band") + "/>\n");
         });
  }

  void points() const {
    for (std::size_t i = 0; i < size_; ++i) {
      if (!shown(i)) continue;
      if (series_.style != XySeries::Style::band && bounded())
        frame_.interval(index_, x_at(i), y_, series_.low[i], series_.high[i]);
      frame_.add(marker(index_, x_at(i), frame_.plot().y(y_.at(series_.y[i])),
                        tooltip(series_.name, short_number(series_.x[i]), short_number(series_.y[i]))));
    }
  }

  Frame& frame_;
  const XySeries& series_;
  std::size_t index_;
  const Scale &x_, &y_;
  std::size_t size_;
};

}  // namespace

std::string draw(const XyChart& chart) {
  std::vector<double> xs, ys;
  std::vector<std::string> names;
  for (const XySeries& series : chart.series) {
    append(xs, series.x);
    for (const auto* values : {&series.y, &series.low, &series.high}) append(ys, *values);
    names.push_back(series.name);
  }
  const Scale x(chart.x.scale, xs), y(chart.y.scale, ys);
  Frame frame(chart.title, chart.y, y, chart.x.label, names, true);
  for (const Tick& tick : x.ticks()) frame.x_tick(frame.plot().x(x.at(tick.value)), tick.label, true);
  bool any = false;
  for (std::size_t s = 0; s < chart.series.size(); ++s) {
    const Curve curve(frame, chart.series[s], s, x, y);
    curve.draw();
    for (std::size_t i = 0; !any && i < chart.series[s].x.size(); ++i) any = curve.shown(i);
  }
  if (!any) frame.say_empty();
  return std::move(frame).finish();
}

}  // namespace dgq
