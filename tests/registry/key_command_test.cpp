// `dgq key`, and signatures in `dgq registry`, as a user meets them.
#include "tests/registry/fixture.h"

namespace dgq::test {
namespace {

class KeyCommandTest : public RegistryFixture {
 protected:
  KeyCommandTest() {
    Registry registry = open();
    version_ = *add(registry, "demo", model(1));
    EXPECT_OK(add(registry, "demo:next", model(2)));
    EXPECT_EQ(run_dgq("key new " + key_).exit_code, 0);
  }
  Outcome run(const std::string& command) { return run_dgq(command + " --registry " + path().string()); }
  Json json(const std::string& command, int exit_code = 0) {
    const Outcome outcome = run(command + " --json");
    EXPECT_EQ(outcome.exit_code, exit_code) << command << ": " << outcome.err;
    return Json::parse(outcome.out);
  }
  void expect_line(const std::string& command, const std::string& expected) {
    const Outcome outcome = run(command);
    EXPECT_GE(outcome.exit_code, 2) << command;
    EXPECT_EQ(outcome.out, "") << command;
    EXPECT_EQ(outcome.error_lines(), 1u) << outcome.err;
    EXPECT_NE(outcome.err.find(expected), std::string::npos) << outcome.err;
  }
  const std::string key_ = (scratch_ / "release.key").string();
  Digest version_;
};

TEST_F(KeyCommandTest, FromAKeyToAnEnforcedPolicy) {
  const std::string id = Json::parse(run_dgq("key show " + key_ + " --json").out).at("key");
  EXPECT_EQ(Json::parse(run_dgq("key show " + key_ + ".pub --json").out).at("key"), id);
  EXPECT_EQ(json("key trust " + key_ + ".pub --name release").at("key"), id);
  EXPECT_EQ(json("key list").at("keys").at(0).at("name"), "release");
  const Json claim = json("registry sign demo --key " + key_ + " --expires 2999-01-01");
  EXPECT_EQ(claim.at("counter"), 1);
  EXPECT_EQ(claim.at("version"), version_.hex());
  EXPECT_EQ(claim.at("expires"), "2999-01-01T00:00:00Z");
  EXPECT_NE(run("registry list").out.find("release #1 until 2999-01-01"), std::string::npos);
  EXPECT_EQ(json("registry sign demo --key " + key_ + " --counter 5").at("expires"), nullptr);

  EXPECT_EQ(json("registry show demo").at("signatures").at(1).at("counter"), 5);
  EXPECT_EQ(json("registry show demo").at("signatures").at(1).at("standing"), "good");
  EXPECT_EQ(json("registry show demo").at("signed").at("demo").at("trusted"), true);
  EXPECT_EQ(json("registry show demo:next").at("signed").at("demo"), nullptr);
  EXPECT_NE(run("registry show demo").out.find("release"), std::string::npos);
  const Json models = json("registry list").at("models");
  EXPECT_EQ(models.at(0).at("signed").at("counter"), 5);
  EXPECT_EQ(models.at(1).at("signed"), nullptr);
  EXPECT_NE(run("registry list").out.find("release #5"), std::string::npos);

  EXPECT_EQ(json("registry policy").at("policy"), "off");
  EXPECT_EQ(run("registry verify").exit_code, 0);
  const Outcome warned = run("registry verify --policy warn");
  EXPECT_EQ(warned.exit_code, 0);
  EXPECT_NE(warned.err.find("demo:next"), std::string::npos) << warned.err;
  EXPECT_EQ(run("registry verify demo --policy enforce").exit_code, 0);
  EXPECT_EQ(json("registry verify demo:next --policy enforce", 1).at("faults").size(), 1u);
  EXPECT_EQ(json("registry policy enforce").at("policy"), "enforce");
  EXPECT_EQ(json("registry verify", 1).at("faults").size(), 1u) << "the registry's policy";
  EXPECT_EQ(run("registry verify --policy off").exit_code, 0);

  expect_line("registry tag demo:next demo:stable", "has no signature");
  EXPECT_EQ(run("registry tag demo:next demo:stable").exit_code, 9);
  EXPECT_EQ(run("registry tag demo demo:stable").exit_code, 0);
  EXPECT_EQ(json("key revoke " + id).at("revoked"), true);
  EXPECT_NE(json("key list").at("keys").at(0).at("revoked"), nullptr);
  expect_line("registry tag demo demo:other", "was revoked");
  EXPECT_NE(run("registry list").out.find("untrusted"), std::string::npos);
  EXPECT_NE(run("registry show demo").out.find("demo: not trusted: key " + id), std::string::npos);
}

// What runs a model asks first: here tokenize, run and unpack, each before it looks at any blob.
TEST_F(KeyCommandTest, WhatLoadsAModelFollowsThePolicy) {
  const std::string commands[] = {"tokenize x --model demo", "run demo x",
                                  "unpack demo --safetensors " + (scratch_ / "out").string()};
  for (const std::string& command : commands) {
    EXPECT_EQ(run("registry policy enforce").exit_code, 0);
    expect_line(command, "has no signature");
    EXPECT_EQ(run(command).exit_code, 9);
    EXPECT_EQ(run("registry policy off").exit_code, 0);
    const Outcome outcome = run(command);  // the model is not one
    EXPECT_EQ(outcome.err.find("signature"), std::string::npos) << outcome.err;
  }
  EXPECT_EQ(run("registry policy warn").exit_code, 0);
  EXPECT_NE(run("tokenize x --model demo").err.find("warning: demo ("), std::string::npos);
  EXPECT_EQ(run("registry export demo -o " + (scratch_ / "x.dgqb").string()).exit_code, 0) << "nothing runs";
  for (const char* names :
       {"tag demo demo:stable", "copy demo:next demo:third", "rename demo:third demo:fourth"}) {
    const Outcome outcome = run(std::string("registry ") + names);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_TRUE(outcome.err.starts_with("warning: demo:")) << names << outcome.err;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  }
}

TEST_F(KeyCommandTest, MistakesGiveOneLine) {
  expect_line("key trust " + key_, "private key");
  expect_line("key trust " + (scratch_ / "none").string(), "none");
  expect_line("key trust", "FILE.pub");
  expect_line("key revoke 12", "dgq key list");
  expect_line("registry policy maybe", "off, warn or enforce");
  expect_line("registry verify --policy maybe", "off, warn or enforce");
  expect_line("registry sign demo", "--key");
  expect_line("registry sign nothing --key " + key_, "no model");
  expect_line("registry sign demo --key " + key_ + ".pub", "no private key");
  for (const char* wrong : {"2027-02-31", "tomorrow", "2027-1-1", " 2027-01-1", "2020-01-01"})
    expect_line("registry sign demo --key " + key_ + " --expires '" + wrong + "'",
                std::string(wrong) == "2020-01-01" ? "later" : "2027-01-01");
  for (const char* wrong : {"90", "d", "-1d", "0d", "9y", "9 d", "99999999999999999999d"})
    expect_line("registry sign demo --key " + key_ + " --expires-in=" + (std::string("'") + wrong + "'"),
                "90d");
  expect_line("registry sign demo --key " + key_ + " --expires 2999-01-01 --expires-in 1d", "leave one out");
  expect_line("registry sign demo --counter 0 --key " + key_, "counter must be");
  std::filesystem::permissions(key_, std::filesystem::perms(0644));
  expect_line("registry sign demo --key " + key_, "chmod 600");
  EXPECT_EQ(run_dgq("key new " + key_).exit_code, 2);
  EXPECT_EQ(sql_integer("SELECT count(*) FROM signature"), 0u);
}

}  // namespace
}  // namespace dgq::test
