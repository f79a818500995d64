// Deployments whose versions have to be signed: what is no signature, and which way back is open.
#include "tests/agent/deployer_fixture.h"

namespace dgq::agent {
namespace {

using test::DeployerTest;

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

}  // namespace
}  // namespace dgq::agent
