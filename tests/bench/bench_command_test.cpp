// `dgq bench` as a user runs it, on tiny sizes. No time is asserted.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/json.h"
#include "kernels/table.h"
#include "tests/support/command.h"
#include "tests/support/not_covered.h"

namespace dgq {
namespace {

using test::Outcome;
using test::run_dgq;

constexpr const char* kTiny = " --cold-mib 4 --min-time 0.0001 --repetitions 2";

// Odd sizes, so that nothing is a whole number of tiles.
constexpr const char* kTinyShape = R"({
  "architectures": ["LlamaForCausalLM"], "hidden_size": 72, "intermediate_size": 200, "num_hidden_layers": 2,
  "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 10, "vocab_size": 301,
  "max_position_embeddings": 64, "attention_bias": true
})";

class BenchCommand : public testing::Test {
 protected:
  BenchCommand() {
    write("tiny.json", kTinyShape);
    ::setenv("DGQ_REGISTRY", path("no-registry.db").c_str(), 1);  // whatever the user has stays as it is
  }
  std::string path(const std::string& name) const { return (scratch_ / name).string(); }
  void write(const std::string& name, const std::string& text) const { std::ofstream(path(name)) << text; }

 private:
  test::ScratchFolder scratch_;
};

void expect_refused(const Outcome& outcome, const std::string& words) {
  EXPECT_NE(outcome.exit_code, 0);
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(outcome.error_lines(), 1u) << outcome.err;
  EXPECT_NE(outcome.err.find(words), std::string::npos) << outcome.err;
}

TEST_F(BenchCommand, KernelsMeasuresEveryRow) {
  const Outcome outcome = run_dgq("bench kernels --json --m 1,5 --shape " + path("tiny.json") + kTiny);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const Json report = Json::parse(outcome.out);
  EXPECT_GT(report["settings"]["equal_to_ref"].get<std::size_t>(), 0u);
  for (const Json& limit : report["limits"]["read"]) EXPECT_GT(limit["gb_per_s"].get<double>(), 0);
  for (const Json& limit : report["limits"]["multiply_add"]) EXPECT_GT(limit["gmac_per_s"].get<double>(), 0);
  std::set<std::string> operations, isas;
  for (const Json& row : report["rows"]) {
    EXPECT_EQ(row["samples"].size(), 2u);
    EXPECT_GT(row["figures"]["gb_per_s"].get<double>(), 0);
    operations.insert(row["of"]["operation"]);
    if (row["of"]["operation"] == "gemm_w4a8") isas.insert(row["of"]["isa"]);
  }
  EXPECT_EQ(operations, (std::set<std::string>{"gemm_f32", "gemm_w4a8", "gemm_w8a8", "quantize_rows"}));
  std::set<std::string> runnable;
  for (const GemmW4A8Kernel& row : gemm_w4a8_kernels())
    if ((row.needs & cpu_features()) == row.needs && row.needs != 0) runnable.insert(row.isa);
  EXPECT_EQ(isas, runnable.empty() ? std::set<std::string>{"ref"} : runnable);
}

TEST_F(BenchCommand, KernelsOfOneSizeAndRow) {
  for (const std::string weights : {"w4", "w6", "w8"}) {
    const Outcome outcome =
        run_dgq("bench kernels --json --isa ref --n 20 --k 40 --m 3 --threads 2 --act-block row --weights " +
                weights + kTiny);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    const Json report = Json::parse(outcome.out);
    ASSERT_EQ(report["rows"].size(), 1u);
    const Json& row = report["rows"][0]["of"];
    EXPECT_EQ(row["operation"], "gemm_" + weights + "a8");
    EXPECT_EQ(row["isa"], "ref");
    EXPECT_EQ(row["m"], 3);
    EXPECT_EQ(row["n"], 20);
    EXPECT_EQ(row["k"], 40);
  }
}

TEST_F(BenchCommand, KernelsTableHasALineForEachRow) {
  const Outcome outcome = run_dgq(std::string("bench kernels --isa ref --n 20 --k 40 --m 1,2") + kTiny);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  std::size_t lines = 0;
  for (std::size_t at = 0; (at = outcome.out.find("\ngemm_w", at)) != std::string::npos; ++at) ++lines;
  EXPECT_EQ(lines, 6u) << outcome.out;
}

TEST_F(BenchCommand, ModelReportsBothTests) {
  const Outcome outcome = run_dgq(
      "bench model --json --prompt 9 --gen 3 --repetitions 2 --threads 1,2 --watts 10 --cold-mib 4 --shape " +
      path("tiny.json"));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const Json report = Json::parse(outcome.out);
  EXPECT_EQ(report["settings"]["shape"], "tiny");
  ASSERT_EQ(report["rows"].size(), 4u);
  const char* const tests[] = {"pp9", "tg3", "pp9", "tg3"};
  for (std::size_t i = 0; i < 4; ++i) {
    const Json& row = report["rows"][i];
    EXPECT_EQ(row["of"]["test"], tests[i]);
    EXPECT_EQ(row["of"]["n_threads"], i / 2 + 1);
    EXPECT_EQ(row["of"]["model"], "tiny W4A8 g128");
    EXPECT_EQ(row["samples"].size(), 2u);
    EXPECT_EQ(row["figures"]["ttft_ms"].is_null(), i % 2 == 1);
    EXPECT_EQ(row["figures"]["of_read"].is_null(), i % 2 == 0);
    EXPECT_GT(row["figures"]["joules_per_token"].get<double>(), 0);
  }
}

TEST_F(BenchCommand, ModelPrintsTheColumnsOfLlamaBench) {
  const Outcome outcome = run_dgq(
      "bench model --prompt 4 --gen 0 --repetitions 1 --threads 1 --cold-mib 4 --kv f32 --act-block row "
      "--group 32 "
      "--shape " +
      path("tiny.json"));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  std::string words = outcome.out.substr(0, outcome.out.find('\n'));
  words.erase(std::remove(words.begin(), words.end(), ' '), words.end());
  EXPECT_EQ(words, "|model|size|params|backend|threads|test|t/s|");
  EXPECT_EQ(std::count(outcome.out.begin(), outcome.out.end(), '\n'), 3) << outcome.out;
  EXPECT_NE(outcome.out.find(" ± "), std::string::npos) << outcome.out;
}

TEST_F(BenchCommand, ModelTakesFinerWeights) {
  std::size_t bytes = 0;
  const std::pair<std::string, std::string> kRecipes[] = {
      {"w4", "w4"}, {"w4", "w6"}, {"w4", "w8"}, {"mixed", "w8"}, {"w6", "w8"}};
  for (const auto& [weights, head] : kRecipes) {
    const Outcome outcome =
        run_dgq("bench model --json --prompt 2 --gen 0 --repetitions 1 --cold-mib 4 --shape " +
                path("tiny.json") + " --group 32 --weights " + weights + " --head " + head);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    const Json report = Json::parse(outcome.out);
    EXPECT_EQ(report["settings"]["weights"], weights);
    EXPECT_EQ(report["settings"]["head"], head);
    const auto size = report["rows"][0]["figures"]["model_size"].get<std::size_t>();
    EXPECT_GT(size, bytes);
    bytes = size;
  }
}

TEST_F(BenchCommand, ModelListsItsShapes) {
  const Outcome outcome = run_dgq("bench model --list-shapes");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_NE(outcome.out.find("llama-3.2-1b\n"), std::string::npos) << outcome.out;
}

TEST_F(BenchCommand, RegistryMeasuresEveryOperation) {
  std::filesystem::create_directory(path("disk"));
  const Outcome outcome =
      run_dgq("bench registry --json --mib 3 --layer-mib 2 --repetitions 2 --folder " + path("disk"));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const Json report = Json::parse(outcome.out);
  EXPECT_EQ(report["settings"]["bytes"], 3 << 20);
  std::map<std::string, std::string> limits;  // of each operation
  for (const Json& row : report["rows"]) {
    const std::string operation = row["of"]["operation"];
    const Json& figures = row["figures"];
    // Five of the operations have a copy of their own beside them.
    EXPECT_EQ(row["samples"].size(), operation == "copy" ? 5u * 2 : 2u) << operation;
    limits[operation] = figures["beside"].is_null() ? "" : figures["beside"].get<std::string>();
    if (!limits[operation].empty()) {
      EXPECT_GT(figures["mb_per_s"].get<double>(), 0) << operation;
      EXPECT_GT(figures["ratio_with_zstd"].get<double>(), 0) << operation;
      EXPECT_GE(figures["ratio"].get<double>(), figures["ratio_with_zstd"].get<double>()) << operation;
    }
  }
  EXPECT_EQ(report["rows"].size(), 2 * limits.size()) << "raw and zstd";
  EXPECT_EQ(limits, (std::map<std::string, std::string>{{"copy", ""},
                                                        {"sha256", ""},
                                                        {"zstd encode", ""},
                                                        {"zstd decode", ""},
                                                        {"add", "copy"},
                                                        {"materialise", "copy"},
                                                        {"materialise again", "copy"},
                                                        {"verify", "sha256"},
                                                        {"export", "copy"},
                                                        {"import", "copy"}}));
  EXPECT_TRUE(std::filesystem::is_empty(path("disk")));
}

TEST_F(BenchCommand, RegistryTableHasALineForEachRow) {
  const Outcome outcome =
      run_dgq("bench registry --mib 1 --layer-mib 8 --repetitions 1 --folder " + path(""));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.out.find("1 MiB, medians\n\ndata "), 0u) << outcome.out;
  for (const char* line : {"\nraw   copy ", "\nraw   import ", "\nzstd  copy ", "\nzstd  import "})
    EXPECT_NE(outcome.out.find(line), std::string::npos) << line << " in " << outcome.out;
  EXPECT_EQ(std::count(outcome.out.begin(), outcome.out.end(), '\n'), 3 + 2 * 10) << outcome.out;
}

TEST_F(BenchCommand, RegistryOnAFullDisk) {
  std::filesystem::create_directory(path("disk"));
  const auto on_small_disk = [&](const std::string& command) {
    return test::run_shell("unshare -rm sh -c 'mount -t tmpfs -o size=2m none " + path("disk") + " && " +
                           command + "'");
  };
  if (on_small_disk("true").exit_code != 0)
    return test::not_covered("bench registry on a full disk: no mount here");
  for (const char* mib : {"4", "1"})  // no room for the copy; for the registry
    expect_refused(
        on_small_disk(test::dgq_command() + " bench registry --repetitions 1 --mib " + mib + " --folder " +
                      path("disk") + "; code=$?; ls -A " + path("disk") + "; exit $code"),
        "no space left");
}

TEST_F(BenchCommand, BadRequestsAreOneLine) {
  const std::string shape = " --shape " + path("tiny.json");
  expect_refused(run_dgq("bench model"), "--shape");
  expect_refused(run_dgq("bench model --output xml" + shape), "--output must be md, csv, json or sql");
  expect_refused(run_dgq("bench model --watts 0" + shape), "--watts");
  expect_refused(run_dgq("bench model --model demo --group 32"), "--group goes with --shape");
  expect_refused(run_dgq("bench kernels --calls 3"), "--calls wants one kernel");
  expect_refused(run_dgq("bench kernels --arm-dgq x"), "--arm-dgq goes with --instructions");
  expect_refused(run_dgq("bench kernels --instructions --m 1"), "--m does not go with --instructions");
  expect_refused(run_dgq("bench model --shape nosuch"), "llama-3.2-1b");
  expect_refused(run_dgq("bench model --shape /nonexistent.json"), "/nonexistent.json");
  expect_refused(run_dgq("bench model --threads 0" + shape), "--threads");
  expect_refused(run_dgq("bench model --threads 1,,2" + shape), "--threads");
  expect_refused(run_dgq("bench model --group 48" + shape), "--group");
  expect_refused(run_dgq("bench model --act-block 64" + shape), "--act-block");
  expect_refused(run_dgq("bench model --kv int4" + shape), "--kv");
  expect_refused(run_dgq("bench model --weights w8" + shape), "--weights must be w4, w6 or mixed");
  expect_refused(run_dgq("bench model --head w5" + shape), "--head must be w4, w6 or w8");
  expect_refused(run_dgq("bench model --repetitions 0" + shape), "--repetitions");
  expect_refused(run_dgq("bench model --prompt 0 --gen 0" + shape), "nothing to do");
  expect_refused(run_dgq("bench model --prompt 65" + shape), "64");
  expect_refused(run_dgq("bench kernels --n 5"), "--k");
  expect_refused(run_dgq("bench kernels --n 5 --k 999999"), "--k");
  expect_refused(run_dgq("bench kernels --m 0"), "--m");
  expect_refused(run_dgq("bench kernels --weights w5"), "--weights");
  expect_refused(run_dgq("bench kernels --isa pentium"), "pentium");
  expect_refused(run_dgq("bench kernels --min-time 0"), "--min-time");
  for (const char* mib : {"0", "-1", "4097", "99999999999999999999", "many", "1.5", "''"}) {
    expect_refused(run_dgq(std::string("bench registry --mib ") + mib), "--mib");
    expect_refused(run_dgq(std::string("bench registry --layer-mib ") + mib), "--layer-mib");
  }
  expect_refused(run_dgq("bench registry --repetitions 0"), "--repetitions");
  expect_refused(run_dgq("bench registry --mib 1 --folder /nonexistent"), "/nonexistent");
  expect_refused(run_dgq("bench registry --mib 1 --folder " + path("tiny.json")), "tiny.json");
  expect_refused(run_dgq("bench registry --mib 1 --folder /proc"), "cannot create a folder in /proc");
  expect_refused(run_dgq("bench registry junk"), "too many positional options");
  expect_refused(run_dgq("bench nosuch"), "nosuch");
}

TEST_F(BenchCommand, WhatDoesNotFitIsRefusedBeforeItIsTouched) {
  write("huge.json",
        R"({"architectures": ["LlamaForCausalLM"], "hidden_size": 65536, "intermediate_size": 131072,
    "num_hidden_layers": 1024, "num_attention_heads": 512, "vocab_size": 1000000, "max_position_embeddings": 512})");
  expect_refused(run_dgq("bench model --shape " + path("huge.json")), "of memory");
  expect_refused(run_dgq("bench kernels --n 16 --k 16 --m 1 --cold-mib 1048576"), "of memory");
}

}  // namespace
}  // namespace dgq
