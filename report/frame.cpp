#include "report/frame.h"

#include <algorithm>
#include <cmath>

#include "report/text.h"

namespace dgq {
namespace {

constexpr double kLetter = 6.2;  // width of a letter of 12 units on average, rather too much
constexpr double kRight = 14, kBottom = 42, kTitle = 18, kLine = 17;
constexpr double kLegendEnd = 100;  // no further row of the legend below it: the data needs room
constexpr std::size_t kColours = 8;

// Without its beginning, if it is wider than that: names that are paths differ at their ends.
std::string shortened(std::string words, double width) {
  if (text_width(words) <= width) return words;
  while (!words.empty() && text_width("..." + words) > width) words.erase(0, 1);
  while (!words.empty() && (words[0] & 0xc0) == 0x80) words.erase(0, 1);  // the rest of a cut character
  return "..." + words;
}

std::string line(double x1, double y1, double x2, double y2, const std::string& attributes) {
  return "<line x1=\"" + coordinate(x1) + "\" y1=\"" + coordinate(y1) + "\" x2=\"" + coordinate(x2) +
         "\" y2=\"" + coordinate(y2) + "\"" + attributes + "/>\n";
}

}  // namespace

double text_width(const std::string& words) {
  // Characters, not bytes.
  return kLetter * static_cast<double>(
                       std::count_if(words.begin(), words.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string coordinate(double value) { return short_number(std::round(value * 10) / 10, 6); }

std::string series_class(std::size_t i, std::string_view also) {
  return " class=\"s" + std::to_string(i % kColours) + " " + std::string(also) + "\"";
}

std::string marker(std::size_t i, double x, double y, const std::string& inside) {
  const auto shape = [&](const char* name, const std::string& where) {
    return std::string("<") + name + where + series_class(i, "mark") + ">" + inside + "</" + name + ">\n";
  };
  const auto polygon = [&](double r, std::initializer_list<std::pair<double, double>> corners) {
    std::string points;
    for (const auto& [dx, dy] : corners)
      points += (points.empty() ? "" : " ") + coordinate(x + r * dx) + "," + coordinate(y + r * dy);
    return shape("polygon", " points=\"" + points + "\"");
  };
  switch (i % 4) {
    case 1:
      return polygon(2.6, {{-1, -1}, {1, -1}, {1, 1}, {-1, 1}});
    case 2:
      return polygon(3.8, {{0, -1}, {1, 0}, {0, 1}, {-1, 0}});
    case 3:
      return polygon(3.6, {{0, -1}, {1, 0.8}, {-1, 0.8}});
    default:
      return shape("circle", " cx=\"" + coordinate(x) + "\" cy=\"" + coordinate(y) + "\" r=\"3\"");
  }
}

std::string tooltip(const std::string& series, const std::string& at, const std::string& value) {
  const std::string name = series.empty() ? "" : series + ", ";
  return "<title>" + escape_xml(name + at + ": " + value) + "</title>";
}

Frame::Frame(const std::string& title, const Axis& y, const Scale& y_scale, const std::string& x_label,
             const std::vector<std::string>& legend, bool lines)
    : title_(title) {
  double widest = 0;
  for (const Tick& tick : y_scale.ticks()) widest = std::max(widest, text_width(tick.label));
  plot_.left = widest + 12;
  plot_.width = kChartWidth - kRight - plot_.left;
  text(0, kTitle - 4, "title", shortened(title, 0.8 * kChartWidth));
  plot_.top = kTitle + 4;
  if (legend.size() > 1 || (legend.size() == 1 && !legend[0].empty())) add_legend(legend, lines);
  text(0, plot_.top + 11, "label", y.label);
  plot_.top += 20;
  plot_.height = kChartHeight - kBottom - plot_.top;
  for (const Tick& tick : y_scale.ticks()) {
    const double at = plot_.y(y_scale.at(tick.value));
    add(line(plot_.left, at, plot_.left + plot_.width, at, " class=\"grid\""));
    text(plot_.left - 6, at + 4, "tick end", tick.label);
  }
  add(line(plot_.left, plot_.y(0), plot_.left + plot_.width, plot_.y(0), " class=\"axis\""));
  text(plot_.x(0.5), kChartHeight - 6, "label middle", x_label);
}

void Frame::add_legend(const std::vector<std::string>& names, bool lines) {
  constexpr double kKey = 22, kGap = 14;
  double x = 0;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::string name = shortened(names[i], kChartWidth - kKey);
    const double width = kKey + text_width(name);
    if (x > 0 && x + width > kChartWidth) x = 0, plot_.top += kLine;
    const double middle = plot_.top + 7;
    if (plot_.top > kLegendEnd) {
      text(x, middle + 4, "label", "and " + std::to_string(names.size() - i) + " more");
      break;
    }
    if (lines) {
      add(line(x, middle, x + 16, middle, series_class(i, "line")));
      add(marker(i, x + 8, middle, ""));
    } else {
      add("<rect x=\"" + coordinate(x + 2) + "\" y=\"" + coordinate(middle - 6) +
          "\" width=\"12\" height=\"12\"" + series_class(i, "bar") + "/>\n");
    }
    text(x + kKey - 2, middle + 4, "label", name);
    x += width + kGap;
  }
  plot_.top += kLine;
}

void Frame::text(double x, double y, const char* css, const std::string& words) {
  add("<text x=\"" + coordinate(x) + "\" y=\"" + coordinate(y) + "\" class=\"" + css + "\">" +
      escape_xml(words) + "</text>\n");
}

void Frame::x_tick(double x, const std::string& label, bool grid) {
  if (grid) add(line(x, plot_.y(1), x, plot_.y(0), " class=\"grid\""));
  // The last label may not leave the chart.
  const double half = text_width(label) / 2;
  text(std::clamp(x, half, kChartWidth - half), plot_.y(0) + 16, "tick middle", label);
}

void Frame::interval(std::size_t i, double x, const Scale& y, double low, double high) {
  if (!y.shows(low) || !y.shows(high)) return;
  constexpr double kEnd = 3;
  const double bottom = plot_.y(y.at(low)), top = plot_.y(y.at(high));
  const std::string attributes = series_class(i, "interval");
  add(line(x, bottom, x, top, attributes));
  for (const double end : {bottom, top}) add(line(x - kEnd, end, x + kEnd, end, attributes));
}

void Frame::say_empty() { text(plot_.x(0.5), plot_.y(0.5), "label middle", "no data"); }

std::string Frame::finish() && {
  const std::string name = escape_xml(title_);
  return "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" viewBox=\"0 0 " +
         std::to_string(kChartWidth) + " " + std::to_string(kChartHeight) + "\" width=\"" +
         std::to_string(kChartWidth) + "\" height=\"" + std::to_string(kChartHeight) +
         "\" role=\"img\" aria-label=\"" + name + "\">\n" + body_ + "</svg>\n";
}

}  // namespace dgq
