#include "bench/bench_page.h"

#include <gtest/gtest.h>

#include "tests/support/xml.h"

namespace dgq::bench {
namespace {

RunRow row(Json of, const char* unit, std::vector<double> samples, Json figures = Json::object()) {
  RunRow made;
  made.of = std::move(of);
  made.unit = unit;
  made.samples = std::move(samples);
  made.figures = std::move(figures);
  return made;
}

Run run_on(const std::string& cpu, const std::string& kind, std::vector<RunRow> rows) {
  Run run;
  run.kind = kind;
  run.machine = {{"cpu", cpu}, {"cores", 2}};
  run.settings = {{"isa", "avx2"}};
  run.limits = {{"read", {{{"threads", 1}, {"gb_per_s", 17.0}}}},
                {"multiply_add", {{{"threads", 1}, {"isa", "avx2"}, {"gmac_per_s", 160.0}}}}};
  run.rows = std::move(rows);
  return run;
}

std::vector<Run> two_machines() {
  std::vector<Run> runs;
  for (const char* cpu : {"CPU <A>", "CPU & B"}) {
    runs.push_back(
        run_on(cpu, "model",
               {row({{"test", "tg8"}, {"n_threads", 1}, {"model", "m"}, {"engine", "dgq"}}, "tokens/s",
                    {10, 11, 12}, {{"bits_per_weight", 4.5}, {"backend", "dgq avx2"}}),
                row({{"test", "tg8"}, {"n_threads", 2}, {"model", "m"}, {"engine", "dgq"}}, "tokens/s",
                    {18, 19, 20}),
                row({{"test", "tg8"}, {"n_threads", 2}, {"model", "llama Q4_0"}, {"engine", "llama-bench"}},
                    "tokens/s", {8, 9},
                    {{"beside", "m"}, {"backend", "llama-bench abc"}, {"model_type", "llama Q4_0"}})}));
    runs.push_back(run_on(cpu, "kernels",
                          {row({{"operation", "gemm_w4a8"},
                                {"isa", "avx2"},
                                {"linear", "gate up"},
                                {"m", 1},
                                {"n", 64},
                                {"k", 64},
                                {"n_threads", 1}},
                               "s", {1e-6}, {{"gb_per_s", 15.0}, {"gmac_per_s", 28.0}}),
                           row({{"operation", "gemm_w4a8"},
                                {"isa", "avx2"},
                                {"linear", "gate up"},
                                {"m", 128},
                                {"n", 64},
                                {"k", 64},
                                {"n_threads", 1}},
                               "s", {1e-4}, {{"gb_per_s", 0.5}, {"gmac_per_s", 120.0}})}));
  }
  runs.push_back(run_on("CPU <A>", "instructions",
                        {row({{"architecture", "aarch64"},
                              {"isa", "neon"},
                              {"weights", "w4"},
                              {"m", 1},
                              {"core", "any"},
                              {"by", "qemu"}},
                             "instructions/MAC", {0.37}, {{"of_vector_instructions", 0.84}})}));
  return runs;
}

test::XmlElement parsed(const std::string& html) {
  std::string fault;
  const auto root = test::XmlReader::read(html, fault);
  EXPECT_TRUE(root) << fault;
  return root.value_or(test::XmlElement{});
}

TEST(BenchPage, HasAPlotForEachQuestion) {
  const auto page = parsed(html(two_machines(), {{"demo:latest", 4.76, 0.02, 0.003}}));
  std::vector<std::string> titles;
  for (const auto* svg : page.all("svg")) titles.push_back(svg->attributes.at("aria-label"));
  EXPECT_EQ(titles, (std::vector<std::string>{"m, tg8", "Roofline of CPU <A>, 2 cores, 1 thread",
                                              "Roofline of CPU & B, 2 cores, 1 thread", "Threads: m, tg8",
                                              "Batch: gate and up, 64 x 64", "Accuracy by size"}));
  for (const auto* svg : page.all("svg")) EXPECT_FALSE(svg->all("text", "label").empty());
  EXPECT_NE(page.text.find("llama-bench abc"), std::string::npos) << "peers are beside";
  EXPECT_NE(page.text.find("limit avx2"), std::string::npos);
  EXPECT_NE(page.text.find("Counted or modelled, not timed"), std::string::npos);
  EXPECT_NE(page.text.find("84 %"), std::string::npos) << "the share of SDOT";
}

TEST(BenchPage, FetchesNothing) {
  const auto page = parsed(html(two_machines(), {}));
  for (const char* name : {"script", "link", "img", "iframe"}) EXPECT_TRUE(page.all(name).empty()) << name;
}

TEST(BenchPage, OfNothing) { EXPECT_TRUE(parsed(html({}, {})).all("svg").empty()); }

}  // namespace
}  // namespace dgq::bench
