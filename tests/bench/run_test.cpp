#include "bench/run.h"

#include <gtest/gtest.h>

#include "bench/instructions.h"
#include "bench/peer.h"
#include "tests/support/command.h"

namespace dgq::bench {
namespace {

Run some_run() {
  bench::Run run;
  run.kind = "model";
  run.tool = "dgq 0.1.0";
  run.started_unix_s = 1'700'000'000;
  run.seconds = 2.5;
  run.machine = {{"cpu", "Test CPU"}, {"governor", nullptr}, {"unknown", {{"governor", "no such file"}}}};
  run.settings = {{"isa", "ref"}};
  RunRow row;
  row.of = {{"test", "tg8"}, {"n_threads", 2}};
  row.unit = "tokens/s";
  row.samples = {1.5, 2.5, 1.0 / 3};
  row.figures = {{"of_read", nullptr}};
  run.rows = {row};
  return run;
}

TEST(Run, SurvivesItsText) {
  const bench::Run run = some_run();
  const auto again = parse_run(run_text(run), "text");
  ASSERT_TRUE(again) << again.error().what;
  EXPECT_EQ(run_text(*again), run_text(run));
  EXPECT_EQ(run_digest(*again), run_digest(run));
  EXPECT_EQ(again->rows[0].samples, run.rows[0].samples);
  const auto file = parse_runs_file(runs_file({run, *again}), "file");
  ASSERT_TRUE(file) << file.error().what;
  ASSERT_EQ(file->size(), 2u);
  EXPECT_EQ(run_text((*file)[1]), run_text(run));
  EXPECT_TRUE(parse_runs_file(runs_file({}), "file"));
}

TEST(Run, WhatIsNoRunIsRefusedInALine) {
  const std::string good = run_text(some_run());
  const auto refused = [](const std::string& text, Errc code, const char* words) {
    const auto run = parse_run(text, "x.json");
    ASSERT_FALSE(run) << text;
    EXPECT_EQ(run.error().code, code) << run.error().what;
    EXPECT_NE(run.error().what.find(words), std::string::npos) << run.error().what;
  };
  const auto with = [&](const char* key, const Json& value) {
    Json json = Json::parse(good);
    json[key] = value;
    return json.dump();
  };
  refused("", Errc::corrupt, "JSON");
  refused(good.substr(0, good.size() / 2), Errc::corrupt, "JSON");
  refused("{}", Errc::corrupt, "not a run");
  refused("[1]", Errc::corrupt, "not a run");
  refused(with("format_version", 2), Errc::unsupported, "newer dgq");
  refused(with("kind", 7), Errc::corrupt, "kind");
  refused(with("rows", 7), Errc::corrupt, "rows");
  refused(with("settings", {{"a", {1}}}), Errc::corrupt, "settings");
  for (const Json& samples : {Json::array(), Json{"x"}, Json{nullptr}, Json(7)})
    refused(with("rows", {{{"of", Json::object()}, {"unit", "s"}, {"better", "less"}, {"samples", samples}}}),
            Errc::corrupt, "samples");
}

TEST(Run, FilesThatAreCutOrChangedAreFound) {
  const std::string good = runs_file({some_run(), some_run()});
  for (std::size_t size = 0; size < good.size(); size += 7) {
    const auto runs = parse_runs_file(good.substr(0, size), "x.dgqr");
    ASSERT_FALSE(runs) << size;
    EXPECT_EQ(runs.error().code, Errc::corrupt) << runs.error().what;
  }
  for (std::size_t at = 0; at < good.size(); at += 5) {
    std::string changed = good;
    changed[at] ^= 1;
    EXPECT_FALSE(parse_runs_file(changed, "x.dgqr")) << at;
  }
  const auto newer = parse_runs_file("{\"dgq_runs\":9,\"runs\":0}\nwhatever", "x.dgqr");
  ASSERT_FALSE(newer);
  EXPECT_EQ(newer.error().code, Errc::unsupported);
  EXPECT_NE(newer.error().what.find("newer dgq"), std::string::npos) << newer.error().what;
  EXPECT_FALSE(parse_runs_file("SQLite format 3", "x.dgqr"));
}

TEST(WarmUp, LeadingSamplesFarFromTheRest) {
  EXPECT_EQ(warm_up_of({1, 50, 51, 50, 51, 50, 51, 50}), 1u);
  EXPECT_EQ(warm_up_of({1, 2, 51, 50, 51, 50, 51, 50}), 2u);
  EXPECT_EQ(warm_up_of({1, 2, 3, 50, 51, 50, 51, 50}), 2u) << "a fourth at most";
  EXPECT_EQ(warm_up_of({50, 1, 51, 50, 51, 50, 51, 50}), 0u) << "only leading ones";
  EXPECT_EQ(warm_up_of({1, 50, 51}), 0u) << "too few to tell";
  EXPECT_EQ(warm_up_of({7, 7, 7, 7}), 0u);
}

TEST(LlamaBench, IsRead) {
  const char* text =
      R"([{"build_commit": "de3ff81", "build_number": 1, "model_type": "llama 1B Q4_0", "model_size": 729000000,
    "model_n_params": 1235000000, "n_threads": 2, "n_prompt": 512, "n_gen": 0, "avg_ts": 195.0, "samples_ts": [194.5, 195.5]}])";
  const auto results = parse_llama_bench(text, "llama-bench");
  ASSERT_TRUE(results) << results.error().what;
  EXPECT_EQ((*results)[0].model_type, "llama 1B Q4_0");
  EXPECT_EQ((*results)[0].tokens_per_s, (std::vector<double>{194.5, 195.5}));
  for (const char* bad : {"", "{}", "[]", "[1]", R"([{"n_threads": 2, "n_prompt": 1, "n_gen": 0}])",
                          R"([{"n_threads": 2, "n_prompt": 1, "n_gen": 0, "samples_ts": [0]}])",
                          R"([{"n_threads": -1, "n_prompt": 1, "n_gen": 0, "samples_ts": [1]}])"}) {
    const auto refused = parse_llama_bench(bad, "llama-bench");
    ASSERT_FALSE(refused) << bad;
    EXPECT_EQ(refused.error().what.find("llama-bench"), 0u) << refused.error().what;
  }
}

// In the form of qemu's log: a block of 3 instructions that runs 10 times, and one of 2 that runs once per call.
TEST(CountOutside, QemusLogOfBlocks) {
  const test::ScratchFolder folder;
  const std::string fake = (folder / "qemu").string();
  std::ofstream(fake) << R"(#!/bin/sh
log=$4
for last; do :; done
printf -- '----------------\nIN: main\n0x00400580:  d503201f  nop\n0x00400584:  d503201f  nop\n0x00400588:  d503201f  nop\n' >"$log"
printf 'IN: kernel\n0x00400600:  4e9f9420  sdot\n0x00400604:  d65f03c0  ret\n' >>"$log"
for i in 1 2 3 4 5 6 7 8 9 10; do echo 'Trace 0: 0x7f6c68400100 [0000000001009331/0000000000400580/00000001/00000200] main' >>"$log"; done
while [ $last -gt 0 ]; do
  echo 'Trace 0: 0x7f6c68400200 [0000000001009331/0000000000400600/00000001/00000200] kernel' >>"$log"; last=$((last - 1))
done
)";
  std::filesystem::permissions(fake, std::filesystem::perms::owner_all);
  const KernelCase c{Operation::gemm_w4a8, "-", 1, 1, {1}};
  const auto count = count_outside({"qemu", "aarch64", {fake, "dgq"}}, "neon_dot", c, 128);
  ASSERT_TRUE(count) << count.error().what;
  EXPECT_EQ(*count, 2);
  std::ofstream(fake) << "#!/bin/sh\nexit 1\n";
  EXPECT_FALSE(count_outside({"qemu", "aarch64", {fake, "dgq"}}, "neon_dot", c, 128));
}

TEST(ArmLoops, AreRead) {
  const auto rows = parse_arm_loops(
      R"([{"isa": "neon", "weights": "w4", "call": "decode", "core": "cortex-a53", "value": 3.1, "unit": "MAC/cycle"}])",
      "loops");
  ASSERT_TRUE(rows) << rows.error().what;
  EXPECT_EQ((*rows)[0].of["by"], "llvm-mca");
  const std::string counted =
      R"({"isa": "neon_dot", "weights": "w4", "call": "prefill", "core": "any", "value": 0.08, "unit": "instructions/MAC")";
  const auto loop = parse_arm_loops("[" + counted + R"(, "of_vector_instructions": 0.84}])", "loops");
  ASSERT_TRUE(loop) << loop.error().what;
  EXPECT_EQ((*loop)[0].figures["of_vector_instructions"], 0.84);
  EXPECT_FALSE(parse_arm_loops("[" + counted + "}]", "loops")) << "the share is missing";
  for (const char* bad : {"{}", "[1]", "[{}]"}) EXPECT_FALSE(parse_arm_loops(bad, "loops")) << bad;
}

}  // namespace
}  // namespace dgq::bench
