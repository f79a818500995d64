#include "bench/bench_plots.h"

#include <algorithm>
#include <map>

#include "bench/machine.h"
#include "bench/significance.h"
#include "bench/statistics.h"
#include "report/chart.h"

namespace dgq::bench {
namespace {

std::string of_text(const RunEntry& entry, const char* key) {
  return text_of(entry.row->of.value(key, Json()));
}

double number_in(const Json& object, const char* key) {
  const Json value = object.value(key, Json());
  return value.is_number() ? value.get<double>() : 0;
}

double median_of(const RunEntry& entry) { return median(entry.row->counted()); }

// Charts, and series in them, in the order in which they first come.
template <class T>
T& found(std::vector<std::pair<std::string, T>>& list, const std::string& name) {
  for (auto& [known, value] : list)
    if (known == name) return value;
  return list.emplace_back(name, T{}).second;
}

void add_point(XySeries& series, double x, double y, const Interval& interval) {
  const auto at = std::lower_bound(series.x.begin(), series.x.end(), x) - series.x.begin();
  series.x.insert(series.x.begin() + at, x);
  series.y.insert(series.y.begin() + at, y);
  series.low.insert(series.low.begin() + at, interval.low);
  series.high.insert(series.high.begin() + at, interval.high);
}

using Series = std::vector<std::pair<std::string, XySeries>>;

std::string draw_xy(const std::string& title, Axis x, Axis y, Series& series) {
  XyChart chart{title, std::move(x), std::move(y), {}};
  for (auto& [name, one] : series) {
    one.name = name;
    chart.series.push_back(one);
  }
  return draw(chart);
}

// What bounds a roofline: bandwidth and the ceilings of the ISAs, of so many threads of one machine.
struct Roof {
  std::vector<double> gb_per_s;
  std::map<std::string, std::vector<double>> gmac_per_s;
  Series points;
};

void add_limits(Roof& roof, const Json& limits, const Json& threads) {
  for (const Json& read : limits.value("read", Json::array()))
    if (read.is_object() && read.value("threads", Json()) == threads && number_in(read, "gb_per_s") > 0)
      roof.gb_per_s.push_back(number_in(read, "gb_per_s"));
  for (const Json& ceiling : limits.value("multiply_add", Json::array()))
    if (ceiling.is_object() && ceiling.value("threads", Json()) == threads &&
        number_in(ceiling, "gmac_per_s") > 0)
      roof.gmac_per_s[text_of(ceiling.value("isa", Json()))].push_back(number_in(ceiling, "gmac_per_s"));
}

std::string draw_roof(const std::string& title, Roof roof) {
  Series series;
  double least = 1e300, most = 0;
  for (const auto& [name, points] : roof.points)
    for (const double x : points.x) least = std::min(least, x), most = std::max(most, x);
  least /= 2, most *= 2;
  if (!roof.gb_per_s.empty())
    for (const auto& [isa, ceilings] : roof.gmac_per_s) {
      const double slope = median(roof.gb_per_s), ceiling = median(ceilings), ridge = ceiling / slope;
      XySeries& limit = found(series, "limit " + isa);
      for (const double x : {least, std::clamp(ridge, least, most), most}) {
        limit.x.push_back(x);
        limit.y.push_back(std::min(slope * x, ceiling));
      }
    }
  for (const auto& [name, points] : roof.points) {
    XySeries& shown = found(series, name);
    shown = points;
    shown.style = XySeries::Style::points;
  }
  return draw_xy(title, {"multiply-adds per byte of weights", ScaleKind::log}, {"GMAC/s", ScaleKind::log},
                 series);
}

}  // namespace

std::string series_name(const RunEntry& entry) {
  const Json backend = entry.row->figures.value("backend", Json());
  const std::string engine = backend.is_string() ? backend.get<std::string>() : "dgq " + text_of(entry.isa());
  return engine + " on " + machine_name(entry.run->machine);
}

std::vector<std::string> speed_plots(const std::vector<RunEntry>& entries) {
  struct Chart {
    std::vector<std::string> categories;
    std::vector<std::pair<std::string, std::map<std::string, const RunEntry*>>> series;
  };
  std::vector<std::pair<std::string, Chart>> charts;
  for (const RunEntry& entry : entries) {
    if (entry.run->kind != "model") continue;
    // A peer stands beside the model that it was measured with.
    const Json beside = entry.row->figures.value("beside", Json());
    const std::string model = beside.is_string() ? beside.get<std::string>() : of_text(entry, "model");
    Chart& chart = found(charts, model + ", " + of_text(entry, "test"));
    const std::string threads = of_text(entry, "n_threads");
    if (std::find(chart.categories.begin(), chart.categories.end(), threads) == chart.categories.end())
      chart.categories.push_back(threads);
    const std::string format =
        beside.is_string() ? " " + text_of(entry.row->figures.value("model_type", Json())) : "";
    found(chart.series, series_name(entry) + format)[threads] = &entry;
  }
  std::vector<std::string> plots;
  for (auto& [title, chart] : charts) {
    std::sort(chart.categories.begin(), chart.categories.end(),
              [](const std::string& a, const std::string& b) {
                return a.size() != b.size() ? a.size() < b.size() : a < b;
              });
    BarChart bars{
        title, {}, {"tokens/s, by threads; median and 95 % interval", ScaleKind::from_zero}, {}, false};
    for (const std::string& threads : chart.categories)
      bars.categories.push_back(threads + (threads == "1" ? " thread" : " threads"));
    for (const auto& [name, by_threads] : chart.series) {
      BarSeries series{name, {}, {}, {}};
      for (const std::string& threads : chart.categories) {
        const auto entry = by_threads.find(threads);
        const bool there = entry != by_threads.end();
        const Interval interval =
            there ? median_interval(entry->second->row->counted()) : Interval{std::nan(""), std::nan("")};
        series.values.push_back(there ? median_of(*entry->second) : std::nan(""));
        series.low.push_back(interval.low);
        series.high.push_back(interval.high);
      }
      bars.series.push_back(std::move(series));
    }
    plots.push_back(draw(bars));
  }
  return plots;
}

std::vector<std::string> roofline_plots(const std::vector<RunEntry>& entries) {
  std::vector<std::pair<std::string, Roof>> roofs;
  std::vector<std::pair<const Run*, std::string>> seen;  // whose limits are in
  for (const RunEntry& entry : entries) {
    if (entry.run->kind != "kernels") continue;
    const double gmac = number_in(entry.row->figures, "gmac_per_s"),
                 gb = number_in(entry.row->figures, "gb_per_s");
    if (!(gmac > 0 && gb > 0) || of_text(entry, "operation") == "gemm_f32") continue;
    const std::string threads = of_text(entry, "n_threads");
    const std::string title = "Roofline of " + machine_name(entry.run->machine) + ", " + threads +
                              (threads == "1" ? " thread" : " threads");
    Roof& roof = found(roofs, title);
    if (std::find(seen.begin(), seen.end(), std::pair(entry.run, title)) == seen.end()) {
      seen.emplace_back(entry.run, title);
      add_limits(roof, entry.run->limits, entry.row->of.value("n_threads", Json()));
    }
    XySeries& points = found(roof.points, of_text(entry, "isa"));
    points.x.push_back(gmac / gb);
    points.y.push_back(gmac);
  }
  std::vector<std::string> plots;
  for (auto& [title, roof] : roofs) plots.push_back(draw_roof(title, std::move(roof)));
  return plots;
}

std::vector<std::string> scaling_plots(const std::vector<RunEntry>& entries) {
  std::vector<std::pair<std::string, Series>> threads, rows, streams;
  for (const RunEntry& entry : entries) {
    const auto x = [&](const char* key) { return number_in(entry.row->of, key); };
    if (entry.run->kind == "model" && x("n_threads") > 0)
      add_point(found(found(threads, "Threads: " + of_text(entry, "model") + ", " + of_text(entry, "test")),
                      series_name(entry)),
                x("n_threads"), median_of(entry), median_interval(entry.row->counted()));
    const double gmac = number_in(entry.row->figures, "gmac_per_s");
    // The largest linear of a model, in the kind of weights that layers have.
    if (entry.run->kind == "kernels" && gmac > 0 && of_text(entry, "operation") == "gemm_w4a8" &&
        of_text(entry, "linear").find("gate") != std::string::npos)
      add_point(found(found(rows, "Batch: gate and up, " + of_text(entry, "n") + " x " + of_text(entry, "k")),
                      of_text(entry, "isa") + ", " + of_text(entry, "n_threads") + " threads, " +
                          machine_name(entry.run->machine)),
                x("m"), gmac, {gmac, gmac});
    if (entry.run->kind == "agent" && of_text(entry, "test") == "throughput")
      add_point(found(found(streams, "Streams: " + of_text(entry, "model")), series_name(entry)),
                x("streams"), median_of(entry), median_interval(entry.row->counted()));
  }
  std::vector<std::string> plots;
  const auto draw_all = [&](std::vector<std::pair<std::string, Series>>& charts, const Axis& x,
                            const Axis& y) {
    for (auto& [title, series] : charts) {
      std::erase_if(series, [](const auto& one) { return one.second.x.size() < 2; });
      if (!series.empty()) plots.push_back(draw_xy(title, x, y, series));
    }
  };
  draw_all(threads, {"threads", ScaleKind::integer}, {"tokens/s", ScaleKind::from_zero});
  draw_all(rows, {"rows of activations", ScaleKind::log}, {"GMAC/s", ScaleKind::log});
  draw_all(streams, {"streams", ScaleKind::integer}, {"tokens/s of all streams", ScaleKind::from_zero});
  return plots;
}

std::vector<std::string> accuracy_plots(const std::vector<Accuracy>& accuracy) {
  Series series;
  for (const Accuracy& one : accuracy) {
    XySeries& points = found(series, one.name);
    points.style = XySeries::Style::points;
    add_point(points, one.bits_per_weight, one.kld, {one.kld - one.kld_error, one.kld + one.kld_error});
  }
  if (series.empty()) return {};
  return {draw_xy("Accuracy by size", {"bits per weight, scales included", ScaleKind::linear},
                  {"KL divergence from the checkpoint, nats per token", ScaleKind::log}, series)};
}

}  // namespace dgq::bench
