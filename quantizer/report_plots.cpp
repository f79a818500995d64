#include "quantizer/report_plots.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <map>
#include <set>

#include "report/chart.h"

namespace dgq {
namespace {

constexpr double kMega = 1e6;

// "layers.3.q_proj" is q of layer 3; anything else is what stands before the first point, of no layer.
struct Place {
  std::optional<std::size_t> layer;
  std::string part;
};
Place place_of(const std::string& name) {
  constexpr std::string_view kLayers = "layers.", kEnd = "_proj";
  std::size_t layer = 0;
  const char* const last = name.data() + name.size();
  const char* const first = name.starts_with(kLayers) ? name.data() + kLayers.size() : last;
  const auto [end, error] = std::from_chars(first, last, layer);
  if (error != std::errc() || end == last || *end != '.')
    return {std::nullopt, name.substr(0, name.find('.'))};
  std::string part(end + 1, last);
  if (part.ends_with(kEnd)) part.resize(part.size() - kEnd.size());
  return {layer, std::move(part)};
}

struct Placed {
  const TensorReport* tensor;
  Place place;
};

// The tensors with their places, and the parts in the order in which they first come.
struct Tensors {
  std::vector<Placed> all;
  std::vector<std::string> parts, parts_of_layers;

  explicit Tensors(const std::vector<TensorReport>& tensors) {
    for (const TensorReport& tensor : tensors) {
      all.push_back({&tensor, place_of(tensor.name)});
      const Place& place = all.back().place;
      remember(parts, place.part);
      if (place.layer) remember(parts_of_layers, place.part);
    }
  }
  static void remember(std::vector<std::string>& list, const std::string& part) {
    if (std::find(list.begin(), list.end(), part) == list.end()) list.push_back(part);
  }
};

using Figure = std::function<std::optional<double>(const TensorReport&)>;

// A figure over layers, a line for each of the parts (all parts of layers when none are given).
void add_by_layer(std::vector<std::string>& plots, const Tensors& tensors, const std::string& title, Axis y,
                  std::vector<std::string> parts, const Figure& figure) {
  XyChart chart{title, {"layer", ScaleKind::integer}, std::move(y), {}};
  if (parts.empty()) parts = tensors.parts_of_layers;
  for (const std::string& part : parts) {
    XySeries series;
    series.name = part;
    for (const Placed& it : tensors.all) {
      if (!it.place.layer || it.place.part != part) continue;
      const std::optional<double> value = figure(*it.tensor);
      if (!value) continue;
      series.x.push_back(static_cast<double>(*it.place.layer));
      series.y.push_back(*value);
    }
    if (!series.x.empty()) chart.series.push_back(std::move(series));
  }
  if (!chart.series.empty()) plots.push_back(draw(chart));
}

// Linears of a layer, and those of attention and of the feed-forward part alone.
void add_bits(std::vector<std::string>& plots, const Tensors& tensors) {
  const std::set<std::string> attention = {"q", "k", "v", "o"};
  std::map<std::size_t, double> bytes[3], weights[3];
  for (const Placed& it : tensors.all) {
    if (!it.place.layer) continue;
    for (const std::size_t which : {std::size_t{0}, attention.count(it.place.part) ? std::size_t{1} : 2}) {
      bytes[which][*it.place.layer] += static_cast<double>(it.tensor->bytes);
      weights[which][*it.place.layer] +=
          static_cast<double>(it.tensor->n) * static_cast<double>(it.tensor->k);
    }
  }
  XyChart chart{"Bits per weight by layer", {"layer", ScaleKind::integer}, {"bits, scales included"}, {}};
  for (const char* name : {"all linears", "attention", "feed-forward"}) {
    XySeries series;
    const std::size_t which = chart.series.size();
    series.name = name;
    for (const auto& [layer, sum] : bytes[which]) {
      series.x.push_back(static_cast<double>(layer));
      series.y.push_back(8 * sum / weights[which][layer]);
    }
    chart.series.push_back(std::move(series));
  }
  if (!bytes[0].empty()) plots.push_back(draw(chart));
}

void add_sizes(std::vector<std::string>& plots, const std::vector<TensorReport>& reports,
               const Tensors& tensors) {
  BarChart chart{"Size by tensor and kind", tensors.parts, {"MB", ScaleKind::from_zero}, {}, true};
  for (const auto& [kind, sum] : totals_by_kind(reports)) {
    BarSeries series{kind, std::vector<double>(tensors.parts.size()), {}, {}};
    for (const Placed& it : tensors.all) {
      if (it.tensor->kind != kind) continue;
      const auto part = std::find(tensors.parts.begin(), tensors.parts.end(), it.place.part);
      series.values[static_cast<std::size_t>(part - tensors.parts.begin())] +=
          static_cast<double>(it.tensor->bytes) / kMega;
    }
    chart.series.push_back(std::move(series));
  }
  if (!chart.series.empty()) plots.push_back(draw(chart));
}

// What each pass leaves of plain rounding's error: the mean over a part's tensors, in per cent.
void add_passes(std::vector<std::string>& plots, const Tensors& tensors) {
  std::vector<std::string> passes;  // the tensors of one version went through the same
  for (const Placed& it : tensors.all)
    for (std::size_t i = passes.size(); i < it.tensor->passes.size(); ++i)
      passes.push_back(it.tensor->passes[i].pass);
  if (passes.empty()) return;
  BarChart chart{"Output error left by each pass",
                 tensors.parts_of_layers,
                 {"% of plain min-max rounding's error", ScaleKind::from_zero},
                 {},
                 false};
  for (std::size_t i = 0; i < passes.size(); ++i) {
    BarSeries series{"after " + passes[i], {}, {}, {}};
    for (const std::string& part : chart.categories) {
      double sum = 0, count = 0;
      for (const Placed& it : tensors.all) {
        if (!it.place.layer || it.place.part != part || i >= it.tensor->passes.size() ||
            !(it.tensor->error_minmax > 0))
          continue;
        sum += it.tensor->passes[i].error / it.tensor->error_minmax;
        ++count;
      }
      series.values.push_back(100 * sum / count);  // NaN without any: no bar
    }
    chart.series.push_back(std::move(series));
  }
  plots.push_back(draw(chart));
}

// Of the layers; what comes before and after them is in the page's table.
void add_costs(std::vector<std::string>& plots, const std::vector<StageCost>& costs) {
  BarChart seconds, memory;
  seconds.title = "Time of each layer";
  seconds.y = {"seconds", ScaleKind::from_zero};
  memory.title = "Peak memory up to each layer";
  memory.y = {"MB resident", ScaleKind::from_zero};
  for (BarChart* chart : {&seconds, &memory}) chart->series.resize(1);
  for (const StageCost& cost : costs) {
    const Place place = place_of(cost.stage + ".");
    if (!place.layer) continue;
    for (BarChart* chart : {&seconds, &memory}) chart->categories.push_back(std::to_string(*place.layer));
    seconds.series[0].values.push_back(cost.seconds);
    memory.series[0].values.push_back(static_cast<double>(cost.peak_rss_bytes) / kMega);
  }
  if (seconds.categories.empty()) return;
  plots.push_back(draw(seconds));
  plots.push_back(draw(memory));
}

}  // namespace

std::vector<std::string> report_plots(const std::vector<TensorReport>& reports,
                                      const std::vector<StageCost>& costs) {
  const Tensors tensors(reports);
  // One of each that read the same.
  const std::vector<std::string> inputs = {"q", "o", "gate", "down"};
  std::vector<std::string> plots;
  add_by_layer(plots, tensors, "Output error by layer", {"relative output error", ScaleKind::log}, {},
               [](const TensorReport& t) { return is_judged(t) ? std::optional(t.error) : std::nullopt; });
  add_passes(plots, tensors);
  add_bits(plots, tensors);
  add_sizes(plots, reports, tensors);
  add_by_layer(
      plots, tensors, "Weights beyond their grid", {"% clipped", ScaleKind::from_zero}, {},
      [](const TensorReport& t) { return t.clipped ? std::optional(100 * *t.clipped) : std::nullopt; });
  add_by_layer(plots, tensors, "Range of the inputs of q, o, gate, down", {"max |x| / rms", ScaleKind::log},
               inputs,
               [](const TensorReport& t) { return t.input ? std::optional(t.input->range) : std::nullopt; });
  add_by_layer(plots, tensors, "Outlier channels of these inputs", {"channels", ScaleKind::from_zero}, inputs,
               [](const TensorReport& t) {
                 return t.input ? std::optional(static_cast<double>(t.input->outliers)) : std::nullopt;
               });
  add_costs(plots, costs);
  return plots;
}

}  // namespace dgq
