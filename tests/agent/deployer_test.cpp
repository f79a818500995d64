// The state machine of deployments, driven step by step: what each outcome of each step leaves in the registry, and what serves.
#include "tests/agent/deployer_fixture.h"

namespace dgq::agent {
namespace {

using test::DeployerTest;
using test::say;

TEST_F(DeployerTest, EveryStepIsDurableAndInTheAuditLog) {
  start_with_a();
  tag(b_, "demo:stable");
  EXPECT_TRUE(deployer_->pass());
  EXPECT_EQ(serving(), b_.hex());
  EXPECT_EQ(row().active, b_);
  EXPECT_EQ(row().previous, a_);
  EXPECT_EQ(row().state, DeployState::active);
  EXPECT_EQ(checks_, 2);
  EXPECT_EQ(
      sql("SELECT group_concat(substr(subject, 6), ' | ') FROM (SELECT subject FROM audit WHERE action = "
          "'deploy' ORDER BY id)"),
      "asked: demo:stable {} | wanted | materialising | verified | loading | checking | active | wanted | "
      "materialising | verified | loading | checking | active | retired " +
          a_.short_hex());
  const auto status = deployer_->status();
  ASSERT_EQ(status.size(), 1u);
  const OrderedJson json = to_json(status[0]);
  EXPECT_EQ(json["active_version"], b_.hex());
  EXPECT_EQ(json["wanted_version"], b_.hex());
  EXPECT_GT(json["memory"]["weights_bytes"].get<std::uint64_t>(), 0u);
}

TEST_F(DeployerTest, RequestsNameTheDeploymentOrItsModel) {
  start_with_a();
  for (const char* name : {"", "chat", "demo:stable"}) EXPECT_TRUE(models_.find(name)) << name;
  for (const char* name : {"demo", "demo:b", "other"}) EXPECT_FALSE(models_.find(name)) << name;
}

TEST_F(DeployerTest, ARefusedVersionIsNotTriedAgainUntilSomethingChanges) {
  start_with_a();
  bool well = false;
  check_ = [&](const CheckOrder& order, const auto& loaded, const auto& go_on) -> Result<Health> {
    ++checks_;
    if (!well) return Error{Errc::corrupt, "it does not feel well"};
    return here_(order, loaded, go_on);
  };
  tag(b_, "demo:stable");
  pass_until_settled();
  expect_still_a("it does not feel well");
  pass_until_settled();
  EXPECT_EQ(checks_, 2);
  tag(a_, "demo:stable");  // the tag moves there and back: tried again
  pass_until_settled();
  EXPECT_EQ(row().reason, "");
  tag(b_, "demo:stable");
  pass_until_settled();
  EXPECT_EQ(checks_, 3);
  well = true;
  pass_until_settled();
  EXPECT_EQ(checks_, 3);
  ask("demo:stable");  // somebody asks
  pass_until_settled();
  EXPECT_EQ(serving(), b_.hex());
}

TEST_F(DeployerTest, ACorruptVersionIsRefused) {
  start_with_a();
  // Of the blobs that only b has, every chunk.
  sql("UPDATE chunk SET data = zeroblob(length(data)), codec = 0, raw_bytes = length(data) WHERE blob IN "
      "(SELECT blob "
      "FROM version_blob GROUP BY blob HAVING count(*) = 1 AND max(version) = (SELECT version FROM tag WHERE "
      "tag = "
      "'b'))");
  tag(b_, "demo:stable");
  pass_until_settled();
  expect_still_a("was refused");
  EXPECT_EQ(checks_, 1);
}

TEST_F(DeployerTest, WhatDoesNotFitIsRefusedWithTheSumsUnlessTheOldOneMayStop) {
  tag(a_, "demo:stable");
  const VersionPlan plan = *plan_version(*registry_->resolve("demo:a"), "demo", options_.load);
  options_.memory_budget_bytes = plan.need.total() * 3 / 2;
  start_with_a();
  tag(b_, "demo:stable");
  pass_until_settled();
  expect_still_a("it does not fit: it needs " + to_text(plan.need) + ", loaded are chat " +
                 to_text(plan.need));
  EXPECT_NE(row().reason.find("budget is " + megabytes(options_.memory_budget_bytes)), std::string::npos);
  // Stopped first, and back if its successor is none.
  check_ = [&](const auto&, const auto&, const auto&) -> Result<Health> {
    EXPECT_FALSE(models_.find("chat"));
    EXPECT_TRUE(models_.coming("chat"));
    return Error{Errc::corrupt, "no"};
  };
  ask("demo:stable", R"({"replace": true})");
  pass_until_settled();
  expect_still_a("no");
  check_ = here_;
  ask("demo:stable");
  pass_until_settled();
  EXPECT_EQ(serving(), b_.hex()) << row().reason;
}

TEST_F(DeployerTest, HealthChecksOfVersionAndPolicy) {
  tag(a_, "demo:stable");
  start();
  const std::string wrong = R"({"prompts": [{"text": "the", "sha256": ")" + std::string(64, 'a') + "\"}]}";
  EXPECT_OK(set_expectations(*registry_, a_, wrong));
  ask("demo:stable");
  pass_until_settled();
  EXPECT_EQ(row().state, DeployState::failed);
  EXPECT_NE(row().reason.find("the logits of \"the\" have the hash"), std::string::npos) << row().reason;
  EXPECT_EQ(serving(), "");
  const auto recorded =
      dgq::test::run_dgq("registry expect demo:a --record the --registry " + path_.string());
  ASSERT_EQ(recorded.exit_code, 0) << recorded.err;
  ask("demo:stable");
  pass_until_settled();
  EXPECT_EQ(serving(), a_.hex()) << row().reason;
  for (const auto& [check, why] :
       {std::pair(R"({"perplexity": {"text": "the the the the", "context": 2, "limit": 1}})",
                  "the perplexity of the canary text is"),
        {R"({"first_token_ms": 0})", "the first token took"},
        {R"({"token_ms": 0})", "a token took"},
        {R"({"memory_bytes": 1})", "bytes of memory, the limit is 1"}}) {
    ask("demo:b", R"({"check": )" + std::string(check) + "}");
    pass_until_settled();
    expect_still_a(why);
  }
}

TEST_F(DeployerTest, RollbackAndForward) {
  start_with_a();
  EXPECT_EQ(ask_rollback(*registry_, "chat").error().code, Errc::invalid);
  EXPECT_EQ(ask_rollback(*registry_, "nobody").error().code, Errc::not_found);
  tag(b_, "demo:stable");
  pass_until_settled();
  EXPECT_OK(ask_rollback(*registry_, "chat"));
  pass_until_settled();
  EXPECT_EQ(serving(), a_.hex());
  EXPECT_NE(row().reason.find("rolled back by"), std::string::npos);
  EXPECT_EQ(row().previous, std::nullopt);
  pass_until_settled();
  EXPECT_EQ(serving(), a_.hex());  // the tag still says b
  ask("demo:stable");
  pass_until_settled();
  EXPECT_EQ(serving(), b_.hex());
}

TEST_F(DeployerTest, RollbackStopsWhatIsUnderWay) {
  start_with_a();
  check_ = [&](const CheckOrder& order, const auto& loaded, const auto& go_on) -> Result<Health> {
    EXPECT_OK(ask_rollback(*registry_, "chat"));
    return here_(order, loaded, go_on);
  };
  tag(b_, "demo:stable");
  pass_until_settled();
  expect_still_a("rolled back by");
}

TEST_F(DeployerTest, WhatIsAskedMeanwhileWins) {
  start_with_a();
  int calls = 0;
  check_ = [&](const CheckOrder& order, const auto& loaded, const auto& go_on) -> Result<Health> {
    if (++calls == 1) ask("demo:a");
    return here_(order, loaded, go_on);
  };
  tag(b_, "demo:stable");
  pass_until_settled();
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(serving(), a_.hex());
  EXPECT_EQ(row().model.text(), "demo:a");
  EXPECT_EQ(row().state, DeployState::active);
}

TEST_F(DeployerTest, TooManyFailedRequestsGoBack) {
  struct Throws : TokenSink {
    bool token(const GeneratedToken&) override { throw std::runtime_error("for the test"); }
    void end(Finish, const std::string&) override {}
  };
  start_with_a(R"({"max_failures": 3})");
  tag(b_, "demo:stable");
  pass_until_settled();
  ASSERT_EQ(serving(), b_.hex());
  const auto fail = [&](int count) {
    const auto model = models_.find("chat");
    for (int i = 0; i < count; ++i)
      ASSERT_TRUE(model->engine->submit({{1, 2}, 3, {}, false, {}}, std::make_shared<Throws>()));
    ASSERT_TRUE(say(model));  // they have ended
  };
  fail(2);
  pass_until_settled();
  EXPECT_EQ(serving(), b_.hex());
  fail(1);
  pass_until_settled();
  expect_still_a("3 requests failed within 600 s on version " + b_.short_hex());
  fail(5);  // there is nothing to go back to any more
  pass_until_settled();
  EXPECT_EQ(serving(), a_.hex());
}

TEST_F(DeployerTest, AnAgentThatDiesTooOftenGoesBackByItself) {
  start_with_a();
  tag(b_, "demo:stable");
  pass_until_settled();
  for (int deaths = 1; deaths <= 3; ++deaths) {
    ASSERT_EQ(serving(), b_.hex());
    die();
    start();
  }
  pass_until_settled();
  expect_still_a("the agent died 3 times within 600 s while it served version " + b_.short_hex());
  // One that stops well counts for nothing.
  for (int i = 0; i < 5; ++i) start();
  EXPECT_EQ(
      sql("SELECT count(*) FROM deployment_run WHERE version = (SELECT version FROM tag WHERE tag = 'a')"),
      "1");
}

TEST_F(DeployerTest, ACandidateThatKillsTheAgentIsGivenUp) {
  start_with_a();
  check_ = [&](const auto&, const auto&, const auto&) -> Result<Health> {
    return Error{Errc::busy, "as if the agent had died here"};
  };
  tag(b_, "demo:stable");
  for (int death = 0; death < 4; ++death) {
    deployer_->pass();
    sql("UPDATE deployment SET attempts = " + std::to_string(death + 1));
    die();
    start();
    EXPECT_EQ(serving(), a_.hex());
  }
  pass_until_settled();
  expect_still_a("the agent died 3 times while it was on its way");
}

TEST_F(DeployerTest, WindowRolloutAndNamesThatAreNotThereWait) {
  start();
  ask("demo:none");
  deployer_->pass();
  EXPECT_EQ(row().state, DeployState::waiting);
  EXPECT_NE(row().reason.find("no demo:none"), std::string::npos);
  const std::time_t now = std::time(nullptr);
  const int minute = static_cast<int>(now % 86'400 / 60);
  const DailyWindow later{(minute + 120) % 1440, (minute + 180) % 1440},
      around{(minute + 1380) % 1440, (minute + 60) % 1440};
  ask("demo:a", R"({"window": ")" + later.text() + "\"}");
  deployer_->pass();
  EXPECT_EQ(serving(), a_.hex());  // nothing runs that could be disturbed
  ask("demo:b");
  EXPECT_FALSE(deployer_->pass());
  EXPECT_EQ(serving(), a_.hex());
  EXPECT_NE(row().reason.find("waits for the window " + later.text() + " UTC"), std::string::npos);
  ask("demo:b", R"({"window": ")" + around.text() + R"(", "rollout": 0})");
  EXPECT_FALSE(deployer_->pass());
  EXPECT_NE(row().reason.find("is for 0 % of the devices"), std::string::npos) << row().reason;
  ask("demo:b", R"({"rollout": 100})");
  pass_until_settled();
  EXPECT_EQ(serving(), b_.hex());
}

TEST_F(DeployerTest, IdleModelsMakeRoomAndComeBackWhenTheyAreNamed) {
  const VersionPlan plan = *plan_version(*registry_->resolve("demo:a"), "demo", options_.load);
  options_.memory_budget_bytes = plan.need.total() * 3 / 2;
  options_.idle_unload = std::chrono::seconds(1);
  start();
  ask("demo:a", "{}", "one");
  pass_until_settled();
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  ask("demo:b", R"({"pin": true})", "two");
  pass_until_settled();
  EXPECT_EQ(serving("two"), b_.hex());
  EXPECT_EQ(serving("one"), "");  // and asked for
  EXPECT_TRUE(models_.coming("one"));
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  EXPECT_FALSE(deployer_->pass());  // "two" is pinned
  EXPECT_EQ(serving("two"), b_.hex());
  ask("demo:b", R"({"pin": false})", "two");
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  pass_until_settled();
  EXPECT_EQ(serving("one"), a_.hex());
  EXPECT_FALSE(models_.find("two"));
}

TEST_F(DeployerTest, WhatServesGoesOnWithoutItsRegistry) {
  start_with_a();
  {
    const auto db = *sqlite::Db::open(path_, sqlite::Db::Access::read_write, 1000);
    ASSERT_TRUE(db->script("BEGIN IMMEDIATE"));
    EXPECT_TRUE(deployer_->pass());  // nothing to write
    EXPECT_TRUE(
        db->script("UPDATE tag SET version = (SELECT version FROM tag WHERE tag = 'b') WHERE tag = 'stable'; "
                   "COMMIT; BEGIN IMMEDIATE"));
    EXPECT_FALSE(deployer_->pass());
    EXPECT_EQ(serving(), a_.hex());
    EXPECT_TRUE(say(models_.find("chat")));
    EXPECT_TRUE(db->script("ROLLBACK"));
  }
  pass_until_settled();
  EXPECT_EQ(serving(), b_.hex());
  registry_.reset();
  const auto kept = folder_ / "kept.db";
  for (const char* suffix : {"", "-wal", "-shm"})
    if (std::filesystem::exists(path_.string() + suffix))
      std::filesystem::rename(path_.string() + suffix, kept.string() + suffix);
  EXPECT_FALSE(deployer_->pass());
  EXPECT_TRUE(say(models_.find("chat")));
  for (const char* suffix : {"", "-wal", "-shm"})
    if (std::filesystem::exists(kept.string() + suffix))
      std::filesystem::rename(kept.string() + suffix, path_.string() + suffix);
  registry_.emplace(std::move(*Registry::open(path_, Registry::Mode::read_write)));
  tag(a_, "demo:stable");
  pass_until_settled();
  EXPECT_EQ(serving(), a_.hex());
}

TEST_F(DeployerTest, GcKeepsWhatDeploymentsNameAndUndeployLetsItGo) {
  start_with_a();
  ask("demo:b");
  pass_until_settled();
  for (const char* name : {"demo:a", "demo:b", "demo:stable"})
    EXPECT_OK(registry_->remove(*ModelRef::parse(name)));
  EXPECT_OK(registry_->gc());
  EXPECT_OK(LayerCache(options_.cache).remove_unused(*registry_));
  EXPECT_TRUE(registry_->resolve(a_.hex()) && registry_->resolve(b_.hex()));
  start();
  EXPECT_EQ(serving(), b_.hex());
  EXPECT_OK(ask_rollback(*registry_, "chat"));
  pass_until_settled();
  EXPECT_EQ(serving(), a_.hex()) << row().reason;
  EXPECT_OK(end_deployment(*registry_, "chat"));
  deployer_->pass();
  EXPECT_TRUE(models_.all().empty());
  EXPECT_EQ(registry_->resolve(b_.hex()).error().code, Errc::not_found);
  EXPECT_OK(registry_->gc());
  EXPECT_EQ(registry_->usage()->blobs, 0u);
}

TEST_F(DeployerTest, AnActiveVersionThatCannotBeLoadedAnyMoreGivesWay) {
  start_with_a();
  tag(b_, "demo:stable");
  pass_until_settled();
  die();
  std::filesystem::remove_all(options_.cache);
  sql("DELETE FROM chunk WHERE blob IN (SELECT blob FROM version_blob GROUP BY blob HAVING count(*) = 1 AND "
      "max(version) = (SELECT version FROM tag WHERE tag = 'b')) AND base IS NULL");
  start();
  pass_until_settled();
  EXPECT_EQ(serving(), a_.hex());
  EXPECT_NE(row().reason.find("cannot be loaded any more"), std::string::npos) << row().reason;
}

TEST_F(DeployerTest, RequestsNeverMeetAnEngineThatIsGoing) {
  start_with_a();
  deployer_->start();
  std::atomic<bool> stop = false;
  std::atomic<int> answers = 0, failures = 0;
  std::mutex mutex;
  std::map<std::string, std::set<std::vector<std::int32_t>>> said;
  std::vector<std::thread> clients;
  for (int i = 0; i < 3; ++i)
    clients.emplace_back([&] {
      while (!stop) {
        auto model = models_.find("chat");
        const std::string version = model ? model->version : "";
        const auto ids = say(std::move(model));
        ++(ids ? answers : failures);
        const std::lock_guard lock(mutex);
        if (ids) said[version].insert(*ids);
      }
    });
  for (int turn = 0; turn < 6; ++turn) {
    const Digest& next = turn % 2 == 0 ? b_ : a_;
    const int before = answers;
    tag(next, "demo:stable");
    deployer_->poke();
    while (serving() != next.hex() || answers < before + 5) std::this_thread::yield();
  }
  stop = true;
  for (auto& client : clients) client.join();
  deployer_->stop();
  EXPECT_EQ(failures, 0);
  EXPECT_EQ(said.size(), 2u);
  for (const auto& [version, texts] : said) EXPECT_EQ(texts.size(), 1u) << version;
}

}  // namespace
}  // namespace dgq::agent
