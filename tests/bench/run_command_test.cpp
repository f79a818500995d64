// Runs in a registry, as a user has them: saved, listed, shown, sent, compared, reported; peers that work and peers that do not.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/json.h"
#include "bench/run.h"
#include "registry/runs.h"
#include "tests/support/command.h"

namespace dgq {
namespace {

using test::Outcome;
using test::run_dgq;

constexpr const char* kShape = R"({
  "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1,
  "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32, "vocab_size": 100, "max_position_embeddings": 64
})";

// What llama-bench prints, for whatever it is asked. The words of its own follow "-o json": they are written down.
constexpr const char* kFakePeer = R"(#!/bin/sh
echo "$*" | sed 's/.*-o json *//' >"$0.asked"
while [ $# -gt 1 ]; do case $1 in -p) p=$2 ;; -n) n=$2 ;; -t) t=$2 ;; esac; shift; done
echo "[{\"build_commit\":\"de3ff81\",\"model_type\":\"llama 1B Q4_0\",\"model_size\":729000000,\"model_n_params\":1235000000,"
echo "\"n_threads\":$t,\"n_prompt\":$p,\"n_gen\":$n,\"samples_ts\":[90.5]}]"
)";

class RunCommands : public testing::Test {
 protected:
  RunCommands() {
    write("tiny.json", kShape);
    write("peer", kFakePeer);
    write("garbage", "#!/bin/sh\necho 'load: loading model'\n");
    write("failing", "#!/bin/sh\necho 'error: unknown model architecture' >&2\nexit 3\n");
    write("other", kFakePeer);
    for (const char* program : {"peer", "other", "garbage", "failing"})
      std::filesystem::permissions(path(program), std::filesystem::perms::owner_all);
    EXPECT_EQ(run_dgq("registry init --registry " + path("a.db")).exit_code, 0);
  }
  std::string path(const std::string& name) const { return (scratch_ / name).string(); }
  void write(const std::string& name, const std::string& text) const { std::ofstream(path(name)) << text; }
  std::string model(const std::string& more = "") const {
    return "bench model --prompt 4 --gen 0 --repetitions 4 --threads 1 --cold-mib 1 --shape " +
           path("tiny.json") + " --registry " + path("a.db") + " " + more;
  }
  Outcome on(const std::string& registry, const std::string& command) const {
    return run_dgq(command + " --registry " + path(registry));
  }

 private:
  test::ScratchFolder scratch_;
};

void expect_refused(const Outcome& outcome, int code, const std::string& words) {
  EXPECT_EQ(outcome.exit_code, code) << outcome.err;
  EXPECT_EQ(outcome.error_lines(), 1u) << outcome.err;
  EXPECT_NE(outcome.err.find(words), std::string::npos) << outcome.err;
}

TEST_F(RunCommands, AreSavedListedShownAndRemoved) {
  const Outcome ran = run_dgq(model("--json"));
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  const auto run = bench::parse_run(ran.out, "stdout");
  ASSERT_TRUE(run) << run.error().what;
  EXPECT_NE(ran.err.find("saved as run " + bench::run_digest(*run).short_hex()), std::string::npos)
      << ran.err;
  ASSERT_EQ(run_dgq(model("--no-save")).exit_code, 0);
  const Json list = Json::parse(on("a.db", "bench runs --json").out);
  ASSERT_EQ(list["runs"].size(), 1u);
  EXPECT_EQ(list["runs"][0]["run"], bench::run_digest(*run).hex());
  EXPECT_NE(on("a.db", "bench show latest").out.find("pp4, 1 thread"), std::string::npos);
  const std::string csv = on("a.db", "bench show latest --output csv").out;
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 2) << csv;
  for (const char* column :
       {"\"avg_ts\"", "\"stddev_ts\"", "\"n_prompt\"", "\"n_threads\"", "\"model_size\""})
    EXPECT_NE(csv.find(column), std::string::npos) << column << " in " << csv;
  EXPECT_EQ(on("a.db", "bench remove latest").exit_code, 0);
  expect_refused(on("a.db", "bench show latest"), 3, "there is no run in registry");
}

TEST_F(RunCommands, SqlIsSql) {
  if (test::run_shell("sqlite3 --version").exit_code != 0) GTEST_SKIP() << "no sqlite3";
  const Outcome rows =
      test::run_shell(test::dgq_command() + " " + model("--output sql --no-save") +
                      " | sqlite3 -init /dev/stdin :memory: 'SELECT test, n_samples + n_warm_up FROM bench'");
  EXPECT_EQ(rows.out, "pp4|4\n") << rows.err;
}

TEST_F(RunCommands, TravelInOneFile) {
  ASSERT_EQ(run_dgq(model()).exit_code, 0);
  ASSERT_EQ(run_dgq("registry init --registry " + path("b.db")).exit_code, 0);
  ASSERT_EQ(on("a.db", "bench export -o " + path("runs.dgqr")).exit_code, 0);
  const Json first = Json::parse(on("b.db", "registry import --json " + path("runs.dgqr")).out);
  EXPECT_EQ(first["new_runs"], 1);
  const Json again = Json::parse(on("b.db", "registry import --json - <" + path("runs.dgqr")).out);
  EXPECT_EQ(again["new_runs"], 0);
  EXPECT_EQ(on("b.db", "registry verify").exit_code, 0);
  EXPECT_EQ(on("b.db", "bench show latest --output csv").out,
            on("a.db", "bench show latest --output csv").out);

  const std::string text = test::file_text(path("runs.dgqr"));
  write("cut.dgqr", text.substr(0, text.size() / 2));
  expect_refused(on("b.db", "registry import " + path("cut.dgqr")), 4, "cut short");
  write("newer.dgqr", "{\"dgq_runs\":7,\"runs\":0}\n");
  expect_refused(on("b.db", "registry import " + path("newer.dgqr")), 5, "newer dgq");
  write("one.json", on("a.db", "bench show latest --output json").out);
  EXPECT_EQ(on("b.db", "registry import " + path("one.json")).exit_code, 4);
  EXPECT_EQ(on("b.db", "compare latest " + path("one.json")).exit_code, 0) << "one run is enough to compare";
  expect_refused(on("b.db", "compare latest " + path("tiny.json")), 4, "not a run");
  expect_refused(on("b.db", "compare latest " + path("nosuch.dgqr")), 3, "nosuch.dgqr");
  const Outcome rest = on("b.db", "compare latest " + path("cut.dgqr") + " " + path("one.json"));
  EXPECT_EQ(rest.exit_code, 0) << rest.err;
  EXPECT_NE(rest.err.find("left out: " + path("cut.dgqr")), std::string::npos) << rest.err;
  expect_refused(on("b.db", "compare " + path("cut.dgqr") + " latest " + path("one.json")), 4, "cut short");
}

TEST_F(RunCommands, OfANewerDgqAreLeftOut) {
  ASSERT_EQ(run_dgq(model()).exit_code, 0);
  {
    auto registry = Registry::open(path("a.db"), Registry::Mode::read_write);
    ASSERT_TRUE(registry);
    ASSERT_TRUE(add_runs(*registry, {{"model", 1, R"({"format":"dgq-run","format_version":2})"}}));
  }
  for (const std::string& command : std::vector<std::string>{
           "bench runs", "bench export -o " + path("all.dgqr"), "report -o " + path("report.html")}) {
    const Outcome outcome = on("a.db", command);
    EXPECT_EQ(outcome.exit_code, 0) << command << outcome.err;
    EXPECT_NE(outcome.err.find("left out: run "), std::string::npos) << outcome.err;
    EXPECT_NE(outcome.err.find("newer dgq"), std::string::npos) << outcome.err;
  }
  EXPECT_EQ(Json::parse(on("a.db", "registry import --json " + path("all.dgqr")).out)["new_runs"], 0);
}

TEST_F(RunCommands, AreCompared) {
  ASSERT_EQ(run_dgq(model()).exit_code, 0);
  const std::string latest = path("a.db") + "#latest";
  const Outcome same = run_dgq("compare --json " + latest + " " + latest + " --fail-if-slower 5%");
  ASSERT_EQ(same.exit_code, 0) << same.err;
  const Json row = Json::parse(same.out)["comparisons"][0]["rows"][0];
  EXPECT_EQ(row["significant"], false);
  EXPECT_EQ(row["speed"], 1.0);
  // Half the speed.
  auto run = bench::parse_run(on("a.db", "bench show latest --output json").out, "run");
  ASSERT_TRUE(run);
  std::vector<double>& samples = run->rows[0].samples;
  for (const double sample : std::vector<double>(samples)) samples.push_back(sample * 1.001);
  write("fast.json", bench::run_text(*run));
  for (double& sample : samples) sample /= 100;
  write("slow.json", bench::run_text(*run));
  const std::string both = "compare " + path("fast.json") + " " + path("slow.json");
  EXPECT_EQ(run_dgq(both).exit_code, 0);
  const Outcome slower = run_dgq(both + " --fail-if-slower 5%");
  EXPECT_EQ(slower.exit_code, 1) << slower.err;
  EXPECT_NE(slower.out.find("slower"), std::string::npos) << slower.out;
  run->rows[0].of["n_threads"] = 7;
  write("threads.json", bench::run_text(*run));
  expect_refused(run_dgq("compare " + path("fast.json") + " " + path("threads.json")), 2,
                 "different threads: not comparable (1 and 7)");
  expect_refused(run_dgq("compare " + path("fast.json")), 2, "two runs");
  expect_refused(run_dgq(both + " --fail-if-slower fast"), 2, "--fail-if-slower");
}

TEST_F(RunCommands, TakeTurns) {
  const std::string turns = "compare --no-save --json --rounds 8 --interleave " + path("tiny.json") + " " +
                            path("tiny.json") +
                            " -- model --prompt 2 --gen 0 --repetitions 1 --threads 1 --cold-mib 1";
  if (!test::memory_counts()) GTEST_SKIP() << "sixteen processes: with the release build only";
  const Outcome outcome = run_dgq(turns);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const Json row = Json::parse(outcome.out)["comparisons"][0]["rows"][0];
  EXPECT_EQ(row["test"], "signed-rank, 8 pairs");
  EXPECT_EQ(row["samples_a"], 8);
  expect_refused(run_dgq("compare --no-save --interleave " + path("failing") + " " + path("failing")), 5,
                 "unknown model architecture");
  expect_refused(run_dgq("compare --no-save --interleave " + path("garbage") + " " + path("garbage")), 4,
                 "not valid JSON");
  expect_refused(run_dgq("compare --interleave one"), 2, "A B");
  expect_refused(run_dgq("compare --rounds 3 --interleave smollm2-135m smollm2-135m"), 2, "--rounds");
}

TEST_F(RunCommands, PeersStandBeside) {
  const Outcome outcome = run_dgq(
      model("--json --no-save --peer llama-bench=" + path("peer") + " --peer broken=" + path("failing") +
            " --peer odd=" + path("garbage") + " --peer gone=" + path("nosuch") + " --peer-model x.gguf"));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  for (const char* words : {"peer broken: ", "unknown model architecture", "peer odd: ", "peer gone: "})
    EXPECT_NE(outcome.err.find(words), std::string::npos) << words << " in " << outcome.err;
  const Json run = Json::parse(outcome.out);
  ASSERT_EQ(run["rows"].size(), 2u);
  const Json& peer = run["rows"][1];
  EXPECT_EQ(peer["of"]["engine"], "llama-bench");
  EXPECT_EQ(peer["figures"]["model_type"], "llama 1B Q4_0");
  EXPECT_NEAR(peer["figures"]["bits_per_weight"].get<double>(), 8 * 729.0 / 1235, 1e-9);
  EXPECT_EQ(peer["samples"].size(), 4u) << "as many turns as dgq has repetitions";
  expect_refused(run_dgq(model("--peer x=" + path("peer"))), 2, "--peer-model");
  expect_refused(run_dgq(model("--peer nonsense --peer-model x.gguf")), 2, "NAME=PATH");
}

TEST_F(RunCommands, PeersHaveArgumentsForAllOrForEach) {
  const std::string peers =
      "--json --no-save --peer a=" + path("peer") + " --peer b=" + path("other") + " --peer-model x.gguf";
  const auto asked = [&](const std::string& arguments) {
    const Outcome outcome = run_dgq(model(peers + arguments));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    const Json rows = Json::parse(outcome.out)["rows"];
    for (std::size_t i = 0; i < 2; ++i)
      EXPECT_EQ(rows[i + 1]["figures"]["arguments"].get<std::string>() + "\n",
                test::file_text(path(i == 0 ? "peer.asked" : "other.asked")));
    return test::file_text(path("peer.asked")) + test::file_text(path("other.asked"));
  };
  EXPECT_EQ(asked(""), "\n\n");
  EXPECT_EQ(asked(" --peer-args '-fa 1'"), "-fa 1\n-fa 1\n");
  EXPECT_EQ(asked(" --peer-args '-rtr 1  -fa 1' --peer-args ''"), "-rtr 1 -fa 1\n\n");
  expect_refused(run_dgq(model(peers + " --peer c=" + path("peer") + " --peer-args x --peer-args y")), 2,
                 "--peer-args once, or once for each --peer");
  expect_refused(run_dgq(model("--peer-args '-fa 1'")), 2, "--peer-args");
}

TEST_F(RunCommands, BecomeAPage) {
  ASSERT_EQ(run_dgq(model()).exit_code, 0);
  ASSERT_EQ(on("a.db", "report -o " + path("report.html")).exit_code, 0);
  EXPECT_NE(test::file_text(path("report.html")).find("tiny W4A8 g128, pp4"), std::string::npos);
  write("cut.dgqr", "{\"dgq_runs\":1,\"runs\":1}\n");
  const Outcome rest = on("a.db", "report latest " + path("cut.dgqr") + " -o " + path("report.html"));
  EXPECT_EQ(rest.exit_code, 0);
  EXPECT_NE(rest.err.find("left out: "), std::string::npos) << rest.err;
  expect_refused(on("a.db", "report"), 2, "-o FILE.html");
}

// A qemu whose log says that the kernel took 2 instructions a call, and neither perf nor valgrind to be relied on.
TEST_F(RunCommands, InstructionsAreCountedWhereTheyCanBe) {
  if (!test::memory_counts()) GTEST_SKIP() << "its shell has no PATH to find an emulator in";
  write("qemu", R"(#!/bin/sh
for last; do :; done
printf 'IN: kernel\n0x00400600:  4e9f9420  sdot\n0x00400604:  d65f03c0  ret\n' >"$4"
while [ $last -gt 0 ]; do echo 'Trace 0: 0x7f [00/0000000000400600/00/00] kernel' >>"$4"; last=$((last - 1)); done
)");
  std::filesystem::permissions(path("qemu"), std::filesystem::perms::owner_all);
  const Outcome outcome =
      test::run_shell("PATH=/nonexistent " + test::dgq_command() +
                      " bench kernels --instructions --json --no-save --arm-dgq dgq --qemu " + path("qemu") +
                      " --arm-loops " + path("failing"));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_NE(outcome.err.find("not counted: inner loops: "), std::string::npos) << outcome.err;
  const Json run = Json::parse(outcome.out);
  EXPECT_NE(run["settings"]["not_counted"].get<std::string>().find("inner loops: "), std::string::npos);
  std::size_t arm = 0;
  for (const Json& row : run["rows"]) {
    if (row["of"]["by"] != "qemu") continue;
    const Json& of = row["of"];
    EXPECT_EQ(row["samples"][0],
              2.0 / (of["m"].get<double>() * of["n"].get<double>() * of["k"].get<double>()));
    ++arm;
  }
  EXPECT_EQ(arm, 3u * 3 * 2) << "ISAs, weights, rows";
}

TEST_F(RunCommands, WithoutARegistryNothingIsSaved) {
  const Outcome outcome = test::run_shell(
      "DGQ_REGISTRY=" + path("none.db") + " " + test::dgq_command() +
      " bench model --prompt 2 --gen 0 --repetitions 1 --cold-mib 1 --shape " + path("tiny.json"));
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_NE(outcome.err.find("not saved: no registry at"), std::string::npos) << outcome.err;
  EXPECT_FALSE(std::filesystem::exists(path("none.db")));
}

TEST_F(RunCommands, AgentsThatAreNotThere) {
  expect_refused(run_dgq("bench agent --url http://127.0.0.1:1"), 3, "no agent at 127.0.0.1:1");
  expect_refused(run_dgq("bench agent --url unix:" + path("none.sock")), 3, "no agent at");
  expect_refused(run_dgq("bench agent --url nonsense"), 2, "an agent is named like");
  expect_refused(run_dgq("bench agent"), 2, "--url");
}

}  // namespace
}  // namespace dgq
