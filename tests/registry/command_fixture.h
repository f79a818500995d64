// tests/registry/command_fixture.h - a registry of its own, and `dgq registry` on it.
#pragma once

#include "base/json.h"
#include "tests/registry/fixture.h"
#include "tools/exit_codes.h"

namespace dgq::test {

class RegistryCommandTest : public RegistryFixture {
 protected:
  Outcome run(const std::string& arguments) {
    return run_dgq("registry " + arguments + " --registry " + path().string());
  }
  Json json(const std::string& arguments, int exit_code = 0) {
    const Outcome outcome = run(arguments + " --json");
    EXPECT_EQ(outcome.exit_code, exit_code) << arguments << ": " << outcome.err;
    return Json::parse(outcome.out);
  }
  void expect_line(const std::string& arguments, const std::string& expected) {
    const Outcome outcome = run(arguments);
    EXPECT_GE(outcome.exit_code, tools::kExitUsage) << arguments;
    EXPECT_EQ(outcome.out, "") << arguments;
    EXPECT_EQ(outcome.error_lines(), 1u) << outcome.err;
    EXPECT_NE(outcome.err.find(expected), std::string::npos) << outcome.err;
  }
};

}  // namespace dgq::test
