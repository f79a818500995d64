#include "report/scale.h"

#include <algorithm>
#include <cmath>

#include "report/text.h"

namespace dgq {
namespace {

constexpr double kLargest = 1e300;    // differences and multiples of such numbers are still finite
constexpr double kSmallest = 1e-290;  // and quotients

int decade(double x) { return static_cast<int>(std::floor(std::log10(x) + 1e-9)); }

// The least of 1, 2, 5 times a power of ten that is not below x > 0.
double round_up(double x) {
  const double power = std::pow(10, std::floor(std::log10(x)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= x * (1 - 1e-9)) return factor * power;
  return 10 * power;
}
double round_down(double x) {
  const double power = std::pow(10, std::floor(std::log10(x) + 1e-12));
  for (const double factor : {5.0, 2.0})
    if (factor * power <= x * (1 + 1e-9)) return factor * power;
  return power;
}

}  // namespace

Scale::Scale(ScaleKind kind, std::span<const double> values) : kind_(kind) {
  double low = INFINITY, high = -INFINITY;
  for (const double value : values) {
    if (!shows(value)) continue;
    low = std::min(low, std::clamp(value, -kLargest, kLargest));
    high = std::max(high, std::clamp(value, -kLargest, kLargest));
  }
  const bool none = low > high;
  if (kind_ == ScaleKind::log) {
    make_log(none ? 1 : std::max(low, 1 / kLargest), none ? 10 : std::max(high, 1 / kLargest));
  } else {
    if (kind_ == ScaleKind::from_zero && !none) low = std::min(low, 0.0), high = std::max(high, 0.0);
    make_linear(none ? 0 : low, none ? 1 : high);
  }
}

bool Scale::shows(double value) const {
  return std::isfinite(value) && (kind_ != ScaleKind::log || value > 0);
}

double Scale::position(double value) const {
  return kind_ == ScaleKind::log ? std::log10(std::clamp(value, 1 / kLargest, kLargest))
                                 : std::clamp(value, -kLargest, kLargest);
}

double Scale::at(double value) const { return (position(value) - low_) / (high_ - low_); }

void Scale::make_linear(double low, double high) {
  constexpr double kSteps = 5;
  // Numbers that double can hardly tell apart have no ticks between them.
  const double size = std::max(std::fabs(low), std::fabs(high));
  if (high - low <= std::max(size * 1e-9, kSmallest)) {
    const bool one = size <= kSmallest || (kind_ == ScaleKind::integer && size < 1e6);
    const double pad = one ? 0.5 : size / 2;
    low -= pad, high += pad;
  }
  double step = round_up((high - low) / kSteps);
  if (kind_ == ScaleKind::integer) step = std::max(step, 1.0);
  double first = step * std::floor(low / step + 1e-9);
  double count = std::max(1.0, std::ceil((high - first) / step - 1e-9));
  low_ = first, high_ = first + count * step;
  if (kind_ == ScaleKind::integer && std::floor(high) >= std::ceil(low)) {
    first = step * std::ceil(low / step - 1e-9);
    count = std::floor((high - first) / step + 1e-9);
    low_ = low, high_ = high;
  }
  // As many digits as the largest needs to differ from its neighbour.
  const double largest = std::max(std::fabs(low_), std::fabs(high_));
  const int digits = std::clamp(decade(largest) - decade(step) + 1, 1, 15);
  for (double i = 0; i <= count; ++i) {
    const double value = first + i * step;
    ticks_.push_back({value, std::fabs(value) < step * 1e-6 ? "0" : short_number(value, digits)});
  }
}

void Scale::make_log(double low, double high) {
  double first = round_down(low), last = round_up(high);
  if (last <= first * 1.5) first = round_down(first * 0.9), last = round_up(last * 1.1);
  low_ = std::log10(first), high_ = std::log10(last);
  const int from = decade(first), to = decade(last);
  const int stride = 1 + (to - from) / 7;  // in decades
  const bool between = to - from <= 2;     // ticks at 2 and 5 as well
  for (int power = from; power <= to; power += stride)
    for (const double factor : {1.0, 2.0, 5.0}) {
      if (factor > 1 && !between) break;
      const double value = factor * std::pow(10, power);
      if (value < first * (1 - 1e-9) || value > last * (1 + 1e-9)) continue;
      ticks_.push_back({value, short_number(value, 1)});
    }
}

}  // namespace dgq
