#include "quantizer/report.h"

#include <gtest/gtest.h>

#include "quantizer/report_page.h"
#include "tests/support/xml.h"

namespace dgq {
namespace {

TensorReport linear(const std::string& name, const std::string& kind) {
  TensorReport tensor;
  tensor.name = name;
  tensor.kind = kind;
  tensor.n = 64, tensor.k = 128, tensor.group = 64, tensor.bytes = 64 * 128 / 2 + 512;
  tensor.error_minmax = 0.004, tensor.error = 0.001;
  tensor.passes = {{"search", 0.003}, {"compensate", 0.001}};
  tensor.clipped = 0.0125;
  tensor.input = {3, 21.5};
  return tensor;
}

std::vector<TensorReport> two_layers() {
  std::vector<TensorReport> tensors(1);
  tensors[0].name = "embedding.embed_tokens";
  tensors[0].kind = "w8";
  tensors[0].n = 260, tensors[0].k = 64, tensors[0].bytes = 260 * 64;
  for (const char* layer : {"layers.0.", "layers.1."})
    for (const char* part : {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"})
      tensors.push_back(linear(std::string(layer) + part, part[0] == 'v' ? "w6" : "w4"));
  return tensors;
}

// What dgq wrote before passes, clipped, outliers and range were measured.
Json old_report() {
  Json report = to_json(two_layers());
  for (Json& layer : report["layers"])
    for (const char* key : {"passes", "clipped", "outliers", "range"}) layer.erase(key);
  return report;
}

TEST(Report, ComesBackFromJson) {
  const Json json = to_json(two_layers());
  const auto back = report_from_json(Json::parse(json.dump()), "test");
  ASSERT_TRUE(back) << back.error().what;
  EXPECT_EQ(to_json(*back), json);
  const TensorReport& tensor = back->at(3);
  EXPECT_EQ(tensor.passes[1].pass, "compensate");
  EXPECT_EQ(tensor.passes[0].error, 0.003);
  EXPECT_EQ(tensor.clipped, 0.0125);
  EXPECT_EQ(tensor.input->outliers, 3u);
  EXPECT_EQ(tensor.input->range, 21.5);
  EXPECT_FALSE(back->at(0).input);
}

TEST(Report, OfAnOlderVersionIsRead) {
  const auto old = report_from_json(old_report(), "test");
  ASSERT_TRUE(old) << old.error().what;
  EXPECT_EQ(old->size(), 15u);
  EXPECT_FALSE(old->at(1).clipped);
  EXPECT_FALSE(old->at(1).input);
  EXPECT_TRUE(old->at(1).passes.empty());
  EXPECT_EQ(to_json(*old), old_report());
}

TEST(Report, RefusesWhatIsNone) {
  const auto refused = [](const Json& report, const std::string& part) {
    const auto read = report_from_json(report, "version 1");
    ASSERT_FALSE(read) << report;
    EXPECT_EQ(read.error().code, Errc::corrupt);
    EXPECT_NE(read.error().what.find("version 1"), std::string::npos) << read.error().what;
    EXPECT_NE(read.error().what.find(part), std::string::npos) << read.error().what;
  };
  refused(nullptr, "layers");
  refused({{"layers", 3}}, "layers");
  refused({{"layers", {"text"}}}, "name");
  const auto with = [](const char* key, const Json& value) {
    Json report = to_json(two_layers());
    report["layers"][1][key] = value;
    return report;
  };
  for (const char* key : {"n", "k", "group", "bytes", "error", "clipped", "outliers", "range", "passes"})
    refused(with(key, "text"), key);
  refused(with("n", 0), "n");
  refused(with("k", std::int64_t{1} << 40), "k");
  refused(with("passes", {{{"pass", 3}}}), "pass");
}

TEST(Report, TotalsByKind) {
  const auto totals = totals_by_kind(two_layers());
  ASSERT_EQ(totals.size(), 3u);
  EXPECT_EQ(totals[0].first, "w4");
  EXPECT_EQ(totals[0].second.tensors, 12u);
  EXPECT_DOUBLE_EQ(totals[0].second.error, 0.001);
  EXPECT_EQ(totals[1].first, "w6");
  EXPECT_EQ(totals[2].first, "w8");
  EXPECT_EQ(totals[2].second.bits_per_weight(), 8);
  EXPECT_TRUE(totals_by_kind({}).empty());
}

TEST(StageCosts, ComeBackFromJson) {
  StageClock clock;
  clock.finish("calibration");
  clock.finish("layers.0");
  const Json json = to_json(clock.costs());
  EXPECT_GT(json[1]["peak_rss_bytes"], 1 << 20);
  const auto back = parse_costs(json.dump(), "test");
  ASSERT_TRUE(back) << back.error().what;
  EXPECT_EQ(to_json(*back), json);
  EXPECT_TRUE(parse_costs("", "test")->empty());
  for (const char* bad : {"{}", "[", "[1]", R"([{"stage": "a", "seconds": "b", "peak_rss_bytes": 1}])"})
    EXPECT_FALSE(parse_costs(bad, "test")) << bad;
}

ReportPage page_of(const std::vector<TensorReport>& tensors) {
  ReportPage page;
  page.name = "demo:latest";
  page.version = std::string(64, 'a');
  page.tensors = tensors;
  return page;
}

test::XmlElement parsed(const ReportPage& page) {
  std::string fault;
  const auto root = test::XmlReader::read(html(page), fault);
  EXPECT_TRUE(root) << fault;
  return root.value_or(test::XmlElement{});
}

std::vector<std::string> plots(const test::XmlElement& page) {
  std::vector<std::string> titles;
  for (const test::XmlElement* chart : page.all("svg")) titles.push_back(chart->attributes.at("aria-label"));
  return titles;
}

TEST(ReportPage, ShowsEveryFigure) {
  ReportPage page = page_of(two_layers());
  page.manifest.recipe = {{"name", "best"}};
  page.manifest.provenance = {{"tool", "dgq 9.9"}};
  page.costs = {{"calibration", 1.5, 100'000'000}, {"layers.0", 2.25, 123'400'000}};
  const test::XmlElement root = parsed(page);
  for (const char* text :
       {"best", "dgq 9.9", "After compensate", "21.5", "123.4", "layers.1.down_proj", "3.75 s"})
    EXPECT_NE(root.text.find(text), std::string::npos) << text;
  EXPECT_NE(root.text.find("1.25"), std::string::npos) << "clipped, in per cent";
  EXPECT_EQ(
      plots(root),
      (std::vector<std::string>{
          "Output error by layer", "Output error left by each pass", "Bits per weight by layer",
          "Size by tensor and kind", "Weights beyond their grid", "Range of the inputs of q, o, gate, down",
          "Outlier channels of these inputs", "Time of each layer", "Peak memory up to each layer"}));
  // 7 lines of 2 points; what compensate left of q's error is a quarter.
  EXPECT_EQ(root.all("svg")[0]->all("polyline").size(), 7u);
  bool quarter = false;
  for (const test::XmlElement* bar : root.all("svg")[1]->all("rect"))
    quarter |= bar->text == "after compensate, q: 25";
  EXPECT_TRUE(quarter);
}

TEST(ReportPage, OfAnOlderVersionLeavesOutWhatItLacks) {
  const test::XmlElement root = parsed(page_of(*report_from_json(old_report(), "test")));
  EXPECT_EQ(plots(root), (std::vector<std::string>{"Output error by layer", "Bits per weight by layer",
                                                   "Size by tensor and kind"}));
  EXPECT_NE(root.text.find("layers.1.down_proj"), std::string::npos);
}

TEST(ReportPage, OfAnythingIsWellFormed) {
  EXPECT_TRUE(plots(parsed(page_of({}))).empty());
  const std::string evil = "layers.99999999999999999999.<script>alert('1')</script>&\x01\xff";
  ReportPage page = page_of({linear(evil, evil), linear("layers.3.", "w4"), linear("", "")});
  page.tensors[0].passes = {{evil, 1e300}};
  page.tensors[1].error = -1;
  page.name = page.version = evil;
  page.manifest.recipe = {{"name", {{evil, evil}}}};
  page.costs = {{evil, -1, 0}};
  EXPECT_TRUE(parsed(page).all("script").empty());
}

}  // namespace
}  // namespace dgq
