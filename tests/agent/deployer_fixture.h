// tests/agent/deployer_fixture.h - a deployer on a registry with two tiny versions, a and b, in a folder of its own.
#pragma once

#include "tests/agent/deployed.h"

namespace dgq::agent::test {

class DeployerTest : public testing::Test {
 protected:
  void SetUp() override {
    copy_two_versions(path_);
    registry_.emplace(std::move(*Registry::open(path_, Registry::Mode::read_write)));
    a_ = registry_->resolve("demo:a")->digest;
    b_ = registry_->resolve("demo:b")->digest;
    options_ = deployer_options(path_);
    here_ = check_here(path_, options_.cache);
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

}  // namespace dgq::agent::test
