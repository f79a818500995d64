// report/scale.h - the scale of an axis: which numbers it spans, where they lie, and where its ticks stand.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace dgq {

struct Tick {
  double value;
  std::string label;
};

enum class ScaleKind {
  linear,
  from_zero,  // linear, 0 is on it: for bars
  integer,    // linear from the least to the largest, ticks at whole numbers only
  log,        // shows numbers above 0 only
};

class Scale {
 public:
  // Spans those of the values that it can show, widened to ticks; 0..1 (log: 1..10) when there are none. Values beyond 1e300
  // count as 1e300.
  Scale(ScaleKind kind, std::span<const double> values);

  bool shows(double value) const;  // a finite number, and above 0 on a log scale
  // 0 at the low end, 1 at the high end; outside when the value is. Precondition: shows(value).
  double at(double value) const;
  const std::vector<Tick>& ticks() const { return ticks_; }  // ascending; 2 to 12, integer: 1 to 12

 private:
  double position(double value) const;  // linear in what is drawn
  void make_linear(double low, double high);
  void make_log(double low, double high);

  ScaleKind kind_;
  double low_ = 0, high_ = 1;  // in positions
  std::vector<Tick> ticks_;
};

}  // namespace dgq
