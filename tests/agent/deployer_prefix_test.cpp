// The saved prefix caches of deployments: whose they are, and when they go.
#include "tests/agent/deployer_fixture.h"

namespace dgq::agent {
namespace {

using test::DeployerTest;

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

}  // namespace
}  // namespace dgq::agent
