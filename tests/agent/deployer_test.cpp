// The state machine of deployments, driven step by step: what each outcome of each step leaves in the registry, and what serves.
#include "tests/agent/deployed.h"

namespace dgq::agent {
namespace {

using test::say;

class DeployerTest : public testing::Test {
 protected:
  void SetUp() override {
    test::copy_two_versions(path_);
    registry_.emplace(std::move(*Registry::open(path_, Registry::Mode::read_write)));
    a_ = registry_->resolve("demo:a")->digest;
    b_ = registry_->resolve("demo:b")->digest;
    options_ = test::deployer_options(path_);
    here_ = test::check_here(path_, options_.cache);
    check_ = [this](const CheckOrder& order, const auto& loaded, const auto& go_on) {
      ++checks_;
      return here_(order, loaded, go_on);
    };
  }

  void start() {
    deployer_.reset();
    deployer_ = std::make_unique<Deployer>(options_, models_, log_,
                                           [this](const auto&... all) { return check_(all...); });
    EXPECT_OK(deployer_->begin());
  }
  // Another process, after this one has ended well.
  void restart() {
    deployer_->stop();
    deployer_->save_prefixes();
    for (const auto& model : models_.all()) models_.remove(model->name);
    start();
  }
  // A process that died: nothing is said about runs, and nothing serves.
  void die() {
    deployer_.reset();
    for (const auto& model : models_.all()) models_.remove(model->name);
    sql("INSERT INTO deployment_run(deployment, version, began) SELECT d.name, d.active, unixepoch() FROM "
        "deployment d WHERE d.active IS NOT NULL");
  }
  void pass_until_settled() {
    for (int i = 0; i < 5 && !deployer_->pass(); ++i) {
    }
  }
  void ask(const std::string& model, const std::string& policy = "{}", const std::string& name = "chat") {
    EXPECT_OK(ask_deployment(*registry_, name, *ModelRef::parse(model), [&](const std::string& before) {
      return changed_policy(before, Json::parse(policy));
    }));
  }
  void tag(const Digest& version, const std::string& name) {
    EXPECT_OK(registry_->tag(version, *ModelRef::parse(name)));
  }
  Deployment row(const std::string& name = "chat") {
    auto found = find_deployment(*registry_, name);
    EXPECT_OK(found);
    return *found;
  }
  std::string serving(const std::string& name = "chat") {
    const auto model = models_.find(name);
    return model ? model->version : "";
  }
  // With a, deployed.
  void start_with_a(const std::string& policy = "{}") {
    tag(a_, "demo:stable");
    start();
    ask("demo:stable", policy);
    pass_until_settled();
    ASSERT_EQ(serving(), a_.hex()) << row().reason;
  }
  std::string sql(const std::string& text) {
    const auto db = *sqlite::Db::open(path_, sqlite::Db::Access::read_write, 10'000);
    auto rows = db->query(text.c_str());
    EXPECT_OK(rows);
    const auto found = rows->step();
    EXPECT_OK(found);
    return *found ? std::string(rows->text(0)) : "";
  }
  void expect_still_a(const std::string& why) {
    EXPECT_EQ(serving(), a_.hex());
    EXPECT_TRUE(say(models_.find("chat")));
    EXPECT_EQ(row().active, a_);
    EXPECT_EQ(row().state, DeployState::active);
    EXPECT_EQ(row().candidate, std::nullopt);
    EXPECT_NE(row().reason.find(why), std::string::npos) << row().reason;
  }

  dgq::test::ScratchFolder folder_;
  const std::filesystem::path path_ = folder_ / "r.db";
  std::FILE* const log_file_ = std::tmpfile();
  const Log log_{Log::Level::debug, false, log_file_};
  std::optional<Registry> registry_;
  Digest a_, b_;
  DeployerOptions options_;
  Checker here_, check_;
  int checks_ = 0;
  DeployedModels models_;
  std::unique_ptr<Deployer> deployer_;
};

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

TEST_F(DeployerTest, AVersionThatServesAlreadyMayNeedASignatureAtItsNextStart) {
  start_with_a();
  ask("demo:stable", R"({"require_signature": true})");
  pass_until_settled();
  expect_still_a("the next start would refuse it: version " + a_.short_hex() + " is not signed");
  ask("demo:stable", R"({"require_signature": false})");
  pass_until_settled();
  EXPECT_EQ(row().reason, "");
  ask("demo:stable", R"({"require_signature": true})");
  pass_until_settled();
  restart();
  EXPECT_EQ(serving(), "");
  EXPECT_EQ(row().state, DeployState::failed);
}

// Signatures are needed by the deployment, or by the registry.
class SignedDeployerTest : public DeployerTest, public testing::WithParamInterface<bool> {
 protected:
  void SetUp() override {
    DeployerTest::SetUp();
    EXPECT_OK(trust_key(*registry_, key_.public_key(), "release"));
  }
  void sign(const char* name, std::int64_t counter, std::optional<std::int64_t> expires_unix_s = {}) {
    EXPECT_OK(sign_version(*registry_, name, key_, {counter, std::nullopt, expires_unix_s}));
  }
  // The tag, without the registry's own rules for names: as a registry that came from elsewhere has it.
  void move_tag(const char* to) {
    sql("UPDATE tag SET version = (SELECT version FROM tag WHERE tag = '" + std::string(to) +
        "') WHERE tag = 'stable'");
  }
  // a serves, signed with counter 5, and signatures are needed.
  void start_with_signed_a() {
    sign("demo:a", 5);
    if (!GetParam()) EXPECT_OK(set_policy(*registry_, Policy::enforce));
    start_with_a(GetParam() ? R"({"require_signature": true})" : "{}");
    EXPECT_EQ(read_trust(*registry_)->accepted, (std::map<std::string, std::int64_t>{{"demo", 5}}));
  }
  const PrivateKey key_ = std::move(*PrivateKey::generate());
};
INSTANTIATE_TEST_SUITE_P(By, SignedDeployerTest, testing::Bool(), [](const auto& info) {
  return std::string(info.param ? "Deployment" : "Registry");
});

TEST_P(SignedDeployerTest, ASignedVersionServes) {
  start_with_signed_a();
  sign("demo:b", 9);
  move_tag("b");
  pass_until_settled();
  EXPECT_EQ(serving(), b_.hex()) << row().reason;
  EXPECT_EQ(row().state, DeployState::active);
  EXPECT_EQ(read_trust(*registry_)->accepted.at("demo"), 9);
  restart();
  EXPECT_EQ(serving(), b_.hex()) << row().reason;
}

TEST_P(SignedDeployerTest, WithoutASignatureTheOldVersionStays) {
  start_with_signed_a();
  move_tag("b");
  pass_until_settled();
  expect_still_a("is not signed as this registry wants it: it has no signature");
  EXPECT_EQ(checks_, 1);
  sign("demo:b", 6);  // afterwards
  ask("demo:stable");
  pass_until_settled();
  EXPECT_EQ(serving(), b_.hex()) << row().reason;
}

TEST_P(SignedDeployerTest, AnUntrustedKeyIsNoSignature) {
  start_with_signed_a();
  const auto stranger = PrivateKey::generate();
  EXPECT_OK(sign_version(*registry_, "demo:b", *stranger, {9, {}, {}}));
  move_tag("b");
  pass_until_settled();
  expect_still_a("key " + stranger->public_key().id() + " is not trusted here");
}

TEST_P(SignedDeployerTest, ARevokedKeyIsNoSignature) {
  start_with_signed_a();
  sign("demo:b", 9);
  EXPECT_OK(revoke_key(*registry_, key_.public_key().id()));
  move_tag("b");
  pass_until_settled();
  expect_still_a("was revoked");
}

TEST_P(SignedDeployerTest, AnExpiredSignatureIsNone) {
  start_with_signed_a();
  const std::int64_t now = std::time(nullptr);
  sign("demo:b", 9, now + 3600);
  sql("INSERT INTO audit(time, who, tool, action, subject) VALUES (" + std::to_string(now + 7200) +
      ", '', '', 'test', '')");
  move_tag("b");
  pass_until_settled();
  expect_still_a("which is over");
}

TEST_P(SignedDeployerTest, AnOlderCounterIsRefusedUnlessSomebodyRollsBack) {
  start_with_signed_a();
  sign("demo:b", 9);
  move_tag("b");
  pass_until_settled();
  ASSERT_EQ(serving(), b_.hex()) << row().reason;
  move_tag("a");  // an old name comes again
  pass_until_settled();
  EXPECT_EQ(serving(), b_.hex());
  EXPECT_NE(row().reason.find("counter 5, but 9 was accepted already"), std::string::npos) << row().reason;
  EXPECT_EQ(row().state, DeployState::active);
  EXPECT_OK(ask_rollback(*registry_, "chat"));
  pass_until_settled();
  EXPECT_EQ(serving(), a_.hex()) << row().reason;
  restart();
  EXPECT_EQ(serving(), a_.hex()) << row().reason;
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

// The tokens of a prompt that the cache of the version that serves has.
std::size_t cached(const std::shared_ptr<ServedModel>& model) {
  KvCache cache(*model->config, 256, model->engine->options().kv.type);
  return model->engine->options().prefix_cache->restore(std::vector<std::int32_t>(100, 7), cache);
}
void fill_cache(const std::shared_ptr<ServedModel>& model) {
  KvCache cache(*model->config, 256, model->engine->options().kv.type);
  model->engine->options().prefix_cache->store(std::vector<std::int32_t>(100, 7), cache);
}

TEST_F(DeployerTest, PrefixCachesAreKeptForTheVersionThatServesAndNoOther) {
  options_.prefix_cache_file = folder_ / "prefixes";
  options_.load.prefix_cache_bytes = 10'000'000;
  const auto file = folder_ / "prefixes.chat";
  start_with_a();
  fill_cache(models_.find("chat"));
  restart();
  EXPECT_EQ(cached(models_.find("chat")), 96u);
  EXPECT_TRUE(std::filesystem::exists(file));
  const std::string of_a = dgq::test::file_text(file);

  tag(b_, "demo:stable");
  pass_until_settled();
  ASSERT_EQ(serving(), b_.hex());
  EXPECT_EQ(cached(models_.find("chat")), 0u);
  EXPECT_FALSE(std::filesystem::exists(file));  // a is retired
  dgq::test::write_text(file, of_a);            // as if the agent had died before it could remove it
  deployer_->stop();
  for (const auto& model : models_.all()) models_.remove(model->name);
  start();
  EXPECT_EQ(cached(models_.find("chat")), 0u);
  EXPECT_FALSE(std::filesystem::exists(file));
  fill_cache(models_.find("chat"));
  restart();
  EXPECT_EQ(cached(models_.find("chat")), 96u);

  // With less room no more is taken than that.
  options_.load.prefix_cache_bytes =
      models_.find("chat")->engine->options().prefix_cache->stats().bytes * 2 / 3;
  restart();
  EXPECT_EQ(cached(models_.find("chat")), 64u);

  // A deployment that ends, while an agent looks and while none does. What is no saved cache is not ours.
  dgq::test::write_text(folder_ / "prefixes.notes", "mine");
  EXPECT_OK(end_deployment(*registry_, "chat"));
  deployer_->pass();
  EXPECT_FALSE(std::filesystem::exists(file));
  dgq::test::write_text(file, of_a);
  start();
  EXPECT_FALSE(std::filesystem::exists(file));
  EXPECT_TRUE(std::filesystem::exists(folder_ / "prefixes.notes"));
}

TEST_F(DeployerTest, AModelThatMadeRoomComesBackWithItsPrefixCache) {
  options_.prefix_cache_file = folder_ / "prefixes";
  options_.load.prefix_cache_bytes = 10'000'000;
  const VersionPlan plan = *plan_version(*registry_->resolve("demo:a"), "demo", options_.load);
  options_.memory_budget_bytes = plan.need.total() * 3 / 2;
  start_with_a(R"({"replace": true})");
  fill_cache(models_.find("chat"));
  check_ = [](const auto&, const auto&, const auto&) -> Result<Health> { return Error{Errc::corrupt, "no"}; };
  tag(b_, "demo:stable");
  pass_until_settled();
  expect_still_a("no");
  EXPECT_EQ(cached(models_.find("chat")), 96u);
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
