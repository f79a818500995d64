// report/frame.h - what all charts share: title, legend, axes, and the place that is left for the data. Internal to report/.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "report/chart.h"

namespace dgq {

// About that of a text in the size of labels.
double text_width(const std::string& words);

// One decimal is a tenth of a pixel or so.
std::string coordinate(double value);

// " class=..." of series i: its colour and dash.
std::string series_class(std::size_t i, std::string_view also);
// The shape that marks series i, around (x, y); `inside` goes into its element.
std::string marker(std::size_t i, double x, double y, const std::string& inside);
// Of a bar or point.
std::string tooltip(const std::string& series, const std::string& at, const std::string& value);

// Where data is drawn, in units of the chart; y grows downwards.
struct Plot {
  double left, top, width, height;
  double x(double share) const { return left + width * share; }
  double y(double share) const { return top + height * (1 - share); }
};

// The <svg> of a chart. Call finish() last.
class Frame {
 public:
  // legend: names of the series; none when there is one.
  Frame(const std::string& title, const Axis& y, const Scale& y_scale, const std::string& x_label,
        const std::vector<std::string>& legend, bool lines);
  const Plot& plot() const { return plot_; }
  void x_tick(double x, const std::string& label, bool grid);
  void add(const std::string& element) { body_ += element; }
  // A vertical interval at x with ends, in series i's colour. Nothing when the scale cannot show it.
  void interval(std::size_t i, double x, const Scale& y, double low, double high);
  // "no data" in the middle.
  void say_empty();
  std::string finish() &&;

 private:
  void add_legend(const std::vector<std::string>& names, bool lines);
  void text(double x, double y, const char* css, const std::string& words);

  std::string title_, body_;
  Plot plot_{};
};

}  // namespace dgq
