#include "quantizer/input_report.h"

#include <algorithm>
#include <cmath>

namespace dgq {

InputReport report_inputs(const LinearInputs& inputs) {
  const auto k = static_cast<std::size_t>(std::sqrt(static_cast<double>(inputs.h.size())) + 0.5);
  std::vector<double> squares(k);  // of each channel, over the tokens
  double sum = 0;
  for (std::size_t c = 0; c < k; ++c) sum += squares[c] = inputs.h[c * k + c];
  InputReport report;
  if (!(sum > 0)) return report;
  const double rms = std::sqrt(sum / static_cast<double>(inputs.tokens) / static_cast<double>(k));
  report.range = inputs.largest / rms;
  std::vector<double> sorted = squares;
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(k / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  const double limit = kOutlierRatio * kOutlierRatio * *middle;
  report.outliers = static_cast<std::size_t>(
      std::count_if(squares.begin(), squares.end(), [&](double x) { return x > limit; }));
  return report;
}

}  // namespace dgq
