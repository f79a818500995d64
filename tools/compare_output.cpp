#include "tools/compare_output.h"

#include <cmath>

#include "report/chart.h"

namespace dgq::tools {
namespace {

// One figure of the bins, with one standard error to either side, through `shown`.
template <class Shown>
XySeries band(const std::vector<PositionBin>& bins, const std::string& name, WindowMean PositionBin::*figure,
              const Shown& shown) {
  XySeries series;
  series.name = name;
  series.style = XySeries::Style::band;
  for (const PositionBin& bin : bins) {
    const WindowMean& value = bin.*figure;
    series.x.push_back(std::sqrt(static_cast<double>(bin.first) * static_cast<double>(bin.last)));
    series.y.push_back(shown(value.mean));
    series.low.push_back(shown(value.mean - value.standard_error));
    series.high.push_back(shown(value.mean + value.standard_error));
  }
  return series;
}

}  // namespace

std::string plot_positions(const Comparison& comparison, const std::string& a, const std::string& b) {
  const Axis position{"tokens before it in the window", ScaleKind::log};
  const auto as_it_is = [](double x) { return x; };
  const auto perplexity = [](double nll) { return std::exp(nll); };
  XyChart kld{
      "KL divergence by position", position, {"nats; band: one standard error", ScaleKind::from_zero}, {}};
  kld.series.push_back(band(comparison.bins, "", &PositionBin::kld, as_it_is));
  XyChart both{
      "Perplexity by position", position, {"perplexity; band: one standard error", ScaleKind::log}, {}};
  both.series.push_back(band(comparison.bins, a, &PositionBin::nll_reference, perplexity));
  both.series.push_back(band(comparison.bins, b, &PositionBin::nll_other, perplexity));
  const std::string charts[] = {draw(kld), draw(both)};
  return svg_file(charts);
}

OrderedJson positions_json(const Comparison& comparison) {
  OrderedJson json;
  const auto add = [&](const std::string& name, WindowMean PositionBin::*figure) {
    for (const PositionBin& bin : comparison.positions) {
      json[name].push_back((bin.*figure).mean);
      json[name + "_standard_error"].push_back((bin.*figure).standard_error);
    }
  };
  for (const PositionBin& bin : comparison.positions) json["position"].push_back(bin.first);
  add("kld", &PositionBin::kld);
  add("nll_a", &PositionBin::nll_reference);
  add("nll_b", &PositionBin::nll_other);
  return json;
}

}  // namespace dgq::tools
