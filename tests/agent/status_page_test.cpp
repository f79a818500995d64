// GET /status in a browser (browser/status.mjs): Debian's chromium, driven by playwright-core. Needs both and
// node; the package is looked for in DGQ_NODE_MODULES, or in browser/node_modules (cd tests/agent/browser &&
// npm ci). DGQ_SCREENSHOT names a file for a picture of the page: that of docs/ was made so.
#include <gtest/gtest.h>

#include <thread>

#include "tests/agent/process.h"
#include "tests/support/not_covered.h"
#include "tests/support/shared.h"

namespace dgq::agent {
namespace {

using dgq::test::dgq_command;
using dgq::test::repository_file;
using dgq::test::run_shell;
using test::Process;

class StatusPageTest : public testing::Test {
 protected:
  void SetUp() override {
    const char* given = std::getenv("DGQ_NODE_MODULES");
    modules_ = given ? given : repository_file("tests/agent/browser/node_modules");
    const bool there = run_shell("command -v node && command -v chromium").exit_code == 0 &&
                       std::filesystem::exists(modules_ / "playwright-core");
    if (!there || !dgq::test::memory_counts()) {
      dgq::test::not_covered(
          "the status page in a browser (needs node, chromium and tests/agent/browser/node_modules)");
      GTEST_SKIP();
    }
    // Modules are looked for beside the script.
    std::filesystem::copy_file(repository_file("tests/agent/browser/status.mjs"), folder_ / "status.mjs");
    std::filesystem::create_directory_symlink(modules_, folder_ / "node_modules");
  }
  // Versions of different groups are different.
  void quantize(const std::string& tag, int group) {
    const auto made = run_shell(dgq_command() + " quantize " + repository_file("models/demo").string() +
                                registry() + " --name demo:" + tag +
                                " --calibration-tokens 64 --recipe fast --group " + std::to_string(group));
    ASSERT_EQ(made.exit_code, 0) << made.err;
  }
  std::string registry() { return " --registry " + (folder_ / "r.db").string(); }

  void drive(const std::string& agent_arguments, std::string script_arguments) {
    if (const char* picture = std::getenv("DGQ_SCREENSHOT"))
      script_arguments += std::string(" --screenshot ") + picture;
    Process agent(dgq_command() + " agent --log-json --listen 127.0.0.1:0" + registry() + " " +
                  agent_arguments);
    const Json listening = agent.wait_for("listening");
    ASSERT_TRUE(listening.is_object());
    std::thread log([&] { agent.wait_for("stopped"); });
    const auto outcome = run_shell("node " + (folder_ / "status.mjs").string() + " http://127.0.0.1:" +
                                   std::to_string(listening["port"].get<int>()) + " " + script_arguments);
    agent.signal(SIGTERM);
    agent.wait();
    log.join();
    EXPECT_EQ(outcome.exit_code, 0) << outcome.out << outcome.err;
    std::printf("%s", outcome.out.c_str());
  }

  dgq::test::ScratchFolder folder_;
  std::filesystem::path modules_;
};

TEST_F(StatusPageTest, PromptsStreamAndChartsMove) {
  quantize("first", 64);
  drive("demo:first", "");
}

TEST_F(StatusPageTest, DeploysAndRollsBack) {
  if (run_shell(dgq_command() + " deploy --help").exit_code != 0) {
    dgq::test::not_covered("deployments on the status page (this build has none)");
    GTEST_SKIP();
  }
  quantize("first", 64);
  quantize("second", 128);
  drive("--admin", "--deploy chat demo:first demo:second");
}

}  // namespace
}  // namespace dgq::agent
