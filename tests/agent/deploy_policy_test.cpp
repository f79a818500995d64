// Policies, health checks as JSON, rollouts, memory limits and child processes: what the state machine stands on.
#include <csignal>

#include "agent/agent_lock.h"
#include "agent/child_process.h"
#include "agent/deploy_policy.h"
#include "agent/memory_plan.h"
#include "base/machine_memory.h"
#include "tests/registry/fixture.h"

namespace dgq::agent {
namespace {

TEST(DailyWindow, TimesOfTheDayAlsoOverMidnight) {
  const auto at = [](int hour, int minute) {
    return std::int64_t{1'700'006'400} + hour * 3600 + minute * 60;
  };
  const DailyWindow night = *DailyWindow::parse("02:00-04:30"), over = *DailyWindow::parse("23:15-00:45");
  EXPECT_TRUE(night.contains(at(2, 0)) && night.contains(at(4, 29)));
  EXPECT_FALSE(night.contains(at(1, 59)) || night.contains(at(4, 30)));
  EXPECT_TRUE(over.contains(at(23, 15)) && over.contains(at(0, 44)));
  EXPECT_FALSE(over.contains(at(0, 45)) || over.contains(at(12, 0)));
  EXPECT_EQ(over.text(), "23:15-00:45");
  for (const char* text :
       {"", "2:00-4:00", "02:00", "02:00-02:00", "24:00-01:00", "02:60-03:00", "02:00-03:00 ", "aa:bb-cc:dd"})
    EXPECT_FALSE(DailyWindow::parse(text)) << text;
}

TEST(DeployPolicy, MembersAreCheckedAndChangedOneByOne) {
  const DeployPolicy usual = *read_policy(Json::object());
  EXPECT_EQ(usual.rollout, 100);
  EXPECT_EQ(usual.max_crashes, 3);
  for (const char* text :
       {"[]", "5", R"({"pin": 1})", R"({"rollout": 101})", R"({"rollout": -1})", R"({"window": "noon"})",
        R"({"max_crashes": 0})", R"({"fault_window_s": 1e9})", R"({"colour": "red"})", R"({"check": 5})",
        R"({"check": {"prompts": [5]}})", R"({"check": {"prompts": [{"sha256": "00"}]}})",
        R"({"check": {"prompts": [{"text": "a", "sha256": "00"}]}})",
        R"({"check": {"perplexity": {"text": "a"}}})",
        R"({"check": {"perplexity": {"text": "a", "limit": 0.5}}})", R"({"check": {"token_ms": "fast"}})",
        R"({"check": {"file": "/etc/passwd"}})"}) {
    const auto policy = read_policy(Json::parse(text));
    ASSERT_FALSE(policy) << text;
    EXPECT_EQ(policy.error().code, Errc::invalid);
  }
  const std::string once = *changed_policy("{}", Json::parse(R"({"pin": true, "window": "02:00-03:00"})"));
  const std::string twice = *changed_policy(once, Json::parse(R"({"window": null, "rollout": 10})"));
  EXPECT_EQ(Json::parse(twice), Json::parse(R"({"pin": true, "rollout": 10})"));
  EXPECT_FALSE(changed_policy(twice, Json::parse(R"({"rollout": "all"})")));
}

TEST(DeployPolicy, ARolloutHasItsShareOfTheDevicesAndGrows) {
  int included = 0;
  for (int device = 0; device < 2000; ++device) {
    const double place = rollout_place("device-" + std::to_string(device), "chat");
    ASSERT_TRUE(place >= 0 && place < 100);
    EXPECT_EQ(place, rollout_place("device-" + std::to_string(device), "chat"));
    included += place < 10;
  }
  // Binomial: 200 +- 13.4; five deviations.
  EXPECT_NEAR(included, 200, 67);
  EXPECT_NE(rollout_place("device", "chat"), rollout_place("device", "other"));
  // SHA-256 of "device\nchat" begins so, on every machine: what a fleet goes by never changes.
  EXPECT_NEAR(
      rollout_place("device", "chat"),
      100.0 *
          [] {
            const std::string hex = sha256(std::string_view("device\nchat")).hex();
            return static_cast<double>(std::stoull(hex.substr(0, 12), nullptr, 16)) / 281474976710656.0;
          }(),
      1e-12);
}

TEST(MemoryBudget, TheLowestLimitOfTheCgroupsElseAShareOfTheMachine) {
  dgq::test::ScratchFolder root;
  const auto put = [&](const std::string& path, const std::string& text) {
    std::filesystem::create_directories((root / path).parent_path());
    std::ofstream(root / path) << text;
  };
  constexpr std::uint64_t kMachine = 1024000000;
  EXPECT_EQ(default_memory_budget(kMachine, root.path()), kMachine / 10 * 7);
  put("proc/self/cgroup", "0::/system.slice/dgq.service\n");
  put("sys/fs/cgroup/system.slice/dgq.service/memory.max", "max\n");
  EXPECT_EQ(default_memory_budget(kMachine, root.path()), kMachine / 10 * 7);
  put("sys/fs/cgroup/system.slice/memory.max", "300000000\n");
  EXPECT_EQ(default_memory_budget(kMachine, root.path()), 300000000u);
  put("sys/fs/cgroup/system.slice/dgq.service/memory.max", "200000000\n");
  EXPECT_EQ(default_memory_budget(kMachine, root.path()), 200000000u);
  // Version 1, in a container that sees the path of its host.
  put("proc/self/cgroup", "5:cpu:/docker/abc\n4:memory:/docker/abc\n");
  put("sys/fs/cgroup/memory/memory.limit_in_bytes", "100000000\n");
  EXPECT_EQ(default_memory_budget(kMachine, root.path()), 100000000u);
  put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(default_memory_budget(kMachine, root.path()), kMachine / 10 * 7);
  EXPECT_GT(machine_memory(), 1u << 20);
}

ChildEnd run(
    const std::string& script, std::vector<std::string>& lines,
    std::chrono::milliseconds limit = std::chrono::minutes(10),
    const std::function<bool()>& go_on = [] { return true; }) {
  const auto end = run_child(
      {"sh", "-c", script}, limit, [&](const std::string& line) { lines.push_back(line); }, go_on);
  EXPECT_OK(end);
  return *end;
}

TEST(ChildProcess, EndsOfEveryKind) {
  using How = ChildEnd::How;
  std::vector<std::string> lines;
  ChildEnd end = run("echo one; echo two; exit 3", lines);
  EXPECT_TRUE(end.how == How::exited && end.code == 3);
  EXPECT_EQ(lines, (std::vector<std::string>{"one", "two"}));
  end = run("kill -SEGV $$", lines);
  EXPECT_TRUE(end.how == How::killed && end.code == SIGSEGV);
  end = run("exec sleep 1000", lines, std::chrono::milliseconds(50));
  EXPECT_EQ(end.how, How::timed_out);
  end = run("exec >&-; exec sleep 1000", lines, std::chrono::milliseconds(50));
  EXPECT_EQ(end.how, How::timed_out);
  lines.clear();
  end = run("echo up; exec sleep 1000", lines, std::chrono::minutes(10), [&] { return lines.empty(); });
  EXPECT_EQ(end.how, How::stopped);
  EXPECT_FALSE(run_child(
      {"/nowhere/at/all"}, std::chrono::seconds(1), [](const std::string&) {}, [] { return true; }));
}

TEST(ChildProcess, InheritsNoDescriptorAndNoBlockedSignal) {
  dgq::test::ScratchFolder folder;
  std::FILE* open = std::fopen((folder / "x").c_str(), "w");  // without O_CLOEXEC, as some libraries open
  sigset_t blocked, before;
  ::sigemptyset(&blocked);
  ::sigaddset(&blocked, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &blocked, &before);
  std::vector<std::string> lines;
  run("for f in /proc/$$/fd/*; do test ${f##*/} -gt 2 && readlink $f; done; while read name value; do test "
      "$name = SigBlk: && echo $name $value; done </proc/$$/status; true",
      lines);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  std::fclose(open);
  for (const std::string& line : lines) EXPECT_EQ(line.find((folder / "x").string()), line.npos) << line;
  ASSERT_FALSE(lines.empty());
  EXPECT_EQ(lines.back(),
            "SigBlk: 0000000000000000");  // read by the shell itself: starting a program blocks some
}

TEST(AgentLock, OneAgentPerRegistryAndDeadOnesHoldNothing) {
  dgq::test::ScratchFolder folder;
  const auto registry = folder / "r.db";
  EXPECT_FALSE(find_agent(registry));
  {
    const auto lock = AgentLock::take(registry, "/run/a.sock");
    ASSERT_TRUE(lock) << lock.error().what;
    EXPECT_EQ(find_agent(registry)->unix_socket, "/run/a.sock");
    EXPECT_EQ(AgentLock::take(registry, "").error().code, Errc::busy);
  }
  EXPECT_FALSE(find_agent(registry));
  EXPECT_TRUE(AgentLock::take(registry, ""));
}

}  // namespace
}  // namespace dgq::agent
