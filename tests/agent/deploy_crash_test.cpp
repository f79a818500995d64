// The agent's deployer, killed at random points of a deployment and with power lost there: what starts after it serves a good
// version, whole, and comes to the new one.
//
// DGQ_CRASH_SEED repeats a run (the test prints its seed), DGQ_CRASH_POINTS says at how many points.
#include "tests/agent/deployed.h"
#include "tests/support/unreliable_disk.h"

namespace dgq::agent {
namespace {

namespace fs = std::filesystem;
using dgq::test::DiskPlan;
using dgq::test::start_child;
using dgq::test::wait_for;
using test::say;

unsigned number_from(const char* variable, unsigned otherwise) {
  const char* text = std::getenv(variable);
  return text ? static_cast<unsigned>(std::strtoul(text, nullptr, 10)) : otherwise;
}

class DeployCrashTest : public testing::Test {
 protected:
  fs::path root() const { return scratch_ / "disk"; }
  fs::path registry() const { return root() / "registry.db"; }

  struct Agent {
    explicit Agent(const fs::path& path)
        : options(test::deployer_options(path)),
          deployer(options, models, log, test::check_here(path, options.cache)) {}
    DeployerOptions options;
    DeployedModels models;
    const Log log{Log::Level::error, false};
    Deployer deployer;
  };

  // Each in a process of its own, since engines have threads, which a fork does not copy.
  static bool in_child(const std::function<bool()>& body) { return wait_for(start_child(body)) == 0; }

  // a serves, and the tag that is wanted names b.
  void SetUp() override {
    test::two_versions();
    fs::create_directories(root());
    ASSERT_TRUE(in_child([&] {
      test::copy_two_versions(registry());
      Registry opened = std::move(*Registry::open(registry(), Registry::Mode::read_write));
      const Digest a = opened.resolve("demo:a")->digest, b = opened.resolve("demo:b")->digest;
      if (!opened.tag(a, *ModelRef::parse("demo:stable"))) return false;
      if (!ask_deployment(opened, "chat", *ModelRef::parse("demo:stable"),
                          [](const std::string& before) -> Result<std::string> { return before; }))
        return false;
      Agent agent(registry());
      if (!agent.deployer.begin() || !agent.deployer.pass()) return false;
      if (!opened.tag(b, *ModelRef::parse("demo:stable"))) return false;
      return write_answers(agent, a, b);
    }));
    fs::rename(root(), scratch_ / "start");
  }

  // What either version says: the yardstick for every later answer.
  bool write_answers(Agent& agent, const Digest& a, const Digest& b) {
    Registry opened = std::move(*Registry::open(registry(), Registry::Mode::read_only));
    LayerCache cache(scratch_ / "elsewhere");
    for (const Digest& version : {a, b}) {
      LoadReport report;
      const auto model = load_model(opened, cache, version.hex(), agent.options.load, UINT64_MAX, report);
      if (!model) throw std::runtime_error(model.error().what);
      const auto ids = say(*model);
      if (!ids) throw std::runtime_error("no answer");
      std::ofstream file(scratch_ / version.hex());
      for (const std::int32_t id : *ids) file << id << ' ';
    }
    return true;
  }

  bool says_what_it_should(Agent& agent) {
    auto model = agent.models.find("chat");
    if (!model) return false;
    const std::string version = model->version;
    const auto ids = say(std::move(model));
    std::string text;
    if (ids)
      for (const std::int32_t id : *ids) text += std::to_string(id) + " ";
    return ids && text == dgq::test::file_text(scratch_ / version);
  }

  std::uint64_t count_calls() {
    restore();
    EXPECT_TRUE(in_child([&] {
      dgq::test::start_disk({.root = root(), .event = DiskPlan::Event::none});
      Agent agent(registry());
      if (!agent.deployer.begin() || !agent.deployer.pass()) return false;
      std::ofstream(scratch_ / "calls") << dgq::test::disk_calls();
      return true;
    }));
    std::uint64_t calls = 0;
    std::ifstream(scratch_ / "calls") >> calls;
    return calls;
  }

  void restore() {
    fs::remove_all(root());
    fs::copy(scratch_ / "start", root(), fs::copy_options::recursive);
  }

  dgq::test::ScratchFolder scratch_;
};

TEST_F(DeployCrashTest, AGoodVersionServesAfterEveryCrash) {
  const unsigned seed = number_from("DGQ_CRASH_SEED", std::random_device()());
  const unsigned points = number_from("DGQ_CRASH_POINTS", dgq::test::memory_counts() ? 100 : 10);
  std::mt19937 random(seed);
  const std::uint64_t calls = count_calls();
  ASSERT_GT(calls, 20u);
  std::printf("DGQ_CRASH_SEED=%u: %u points of %llu changing calls\n", seed, points,
              static_cast<unsigned long long>(calls));
  unsigned early = 0;
  for (unsigned point = 0; point < points && !HasFailure(); ++point) {
    restore();
    const DiskPlan plan{.root = root(),
                        .event = random() % 2 ? DiskPlan::Event::kill : DiskPlan::Event::power_loss,
                        .at = 1 + random() % calls,
                        .seed = static_cast<unsigned>(random())};
    SCOPED_TRACE("point " + std::to_string(point) + " at " + std::to_string(plan.at) + " seed " +
                 std::to_string(seed));
    const int code = wait_for(start_child([&] {
      dgq::test::start_disk(plan);
      Agent agent(registry());
      return agent.deployer.begin() && agent.deployer.pass();
    }));
    EXPECT_TRUE(code == 0 || code == 128 + SIGKILL) << code;
    // The next one: at once one of the two, and then the new one.
    EXPECT_TRUE(in_child([&] {
      Agent agent(registry());
      if (const auto begun = agent.deployer.begin(); !begun) throw std::runtime_error(begun.error().what);
      if (!says_what_it_should(agent)) throw std::runtime_error("no good answer after the restart");
      std::ofstream(scratch_ / "first") << agent.models.find("chat")->version;
      for (int i = 0; i < 3 && !agent.deployer.pass(); ++i) {
      }
      if (!says_what_it_should(agent)) throw std::runtime_error("no good answer in the end");
      Registry opened = std::move(*Registry::open(registry(), Registry::Mode::read_only));
      const Deployment row = *find_deployment(opened, "chat");
      if (row.state != DeployState::active || row.active != opened.resolve("demo:b")->digest)
        throw std::runtime_error(std::string("in the end it is ") + to_text(row.state) + ": " + row.reason);
      return opened.verify()->faults.empty() && LayerCache(agent.options.cache).verify()->faults.empty();
    }));
    Registry opened = std::move(*Registry::open(registry(), Registry::Mode::read_only));
    early += dgq::test::file_text(scratch_ / "first") == opened.resolve("demo:a")->digest.hex();
  }
  EXPECT_GT(early, 0u);  // there were crashes before the switch
}

// The disk is full from some point on: whatever could not be written, what served goes on, and when there is room again the
// deployment can be asked for again.
TEST_F(DeployCrashTest, ADiskThatIsFull) {
  const unsigned seed = number_from("DGQ_CRASH_SEED", std::random_device()());
  const unsigned points = number_from("DGQ_CRASH_POINTS", dgq::test::memory_counts() ? 40 : 5);
  std::mt19937 random(seed);
  const std::uint64_t calls = count_calls();
  std::printf("DGQ_CRASH_SEED=%u\n", seed);
  for (unsigned point = 0; point < points && !HasFailure(); ++point) {
    restore();
    const DiskPlan plan{.root = root(),
                        .event = DiskPlan::Event::full,
                        .at = 1 + random() % calls,
                        .seed = static_cast<unsigned>(random())};
    SCOPED_TRACE("at " + std::to_string(plan.at) + " seed " + std::to_string(seed));
    EXPECT_TRUE(in_child([&] {
      dgq::test::start_disk(plan);
      Agent agent(registry());
      // Not even the memory that readers of the registry share can be had: then it says so, and ends.
      if (const auto begun = agent.deployer.begin(); !begun) return begun.error().code == Errc::io;
      for (int i = 0; i < 3; ++i) agent.deployer.pass();
      return says_what_it_should(agent);
    }));
    EXPECT_TRUE(in_child([&] {
      Registry opened = std::move(*Registry::open(registry(), Registry::Mode::read_write));
      Agent agent(registry());
      if (!agent.deployer.begin() || !says_what_it_should(agent)) return false;
      if (!ask_deployment(opened, "chat", *ModelRef::parse("demo:b"),
                          [](const std::string& before) -> Result<std::string> { return before; }))
        return false;
      for (int i = 0; i < 3 && !agent.deployer.pass(); ++i) {
      }
      return says_what_it_should(agent) &&
             agent.models.find("chat")->version == opened.resolve("demo:b")->digest.hex();
    }));
  }
}

}  // namespace
}  // namespace dgq::agent
