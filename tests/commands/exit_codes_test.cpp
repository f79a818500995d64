// Exit codes are an interface: scripts and service managers act on them.
#include "tools/exit_codes.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>

#include <set>

#include "base/file.h"
#include "tests/support/command.h"
#include "tests/support/tiny_checkpoint.h"

namespace dgq {
namespace {

using test::run_dgq;
using test::run_shell;

TEST(ExitCodes, TableIsWhatItWas) {
  const std::map<Errc, int> expected = {{Errc::invalid, 2},     {Errc::not_found, 3}, {Errc::corrupt, 4},
                                        {Errc::unsupported, 5}, {Errc::io, 6},        {Errc::busy, 7},
                                        {Errc::untrusted, 9}};
  std::set<int> known;
  for (const auto& [code, meaning] : tools::exit_codes()) {
    EXPECT_TRUE(known.insert(code).second) << code;
    EXPECT_NE(std::string(meaning), "");
  }
  EXPECT_EQ(known, (std::set{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
  for (const auto& [error, code] : expected) EXPECT_EQ(tools::exit_code(error), code);
}

TEST(ExitCodes, HelpPrintsTheTable) {
  const test::Outcome help = run_dgq("help exit-codes");
  EXPECT_EQ(help.exit_code, 0);
  for (const auto& [code, meaning] : tools::exit_codes())
    EXPECT_NE(help.out.find(std::to_string(code) + "  " + meaning + "\n"), std::string::npos) << help.out;
  EXPECT_EQ(run_dgq("help registry list").out, run_dgq("registry list --help").out);
}

// One way to each, through the command.
TEST(ExitCodes, EachIsReached) {
  const test::ScratchFolder scratch;
  const std::string path = (scratch / "r.db").string(), registry = " --registry " + path;
  const auto code = [&](const std::string& arguments) { return run_dgq(arguments + registry).exit_code; };
  EXPECT_EQ(code("registry list"), 3);
  EXPECT_EQ(code("registry init"), 0);
  EXPECT_EQ(code("registry list"), 0);
  EXPECT_EQ(code("registry list --frob"), 2);
  EXPECT_EQ(code("registry frob"), 2);
  EXPECT_EQ(code("registry log --since never"), 2);
  EXPECT_EQ(code("registry show nobody"), 3);
  EXPECT_EQ(run_dgq("registry init --registry /proc/nowhere/r.db").exit_code, 6);
  EXPECT_EQ(run_shell(test::dgq_command() + " registry list" + registry + " >/dev/full").exit_code, 6);
  EXPECT_EQ(run_shell(test::dgq_command() + " registry list --names" + registry + " | true").exit_code, 0);

  const std::filesystem::path checkpoint = scratch / "tiny", work = scratch / "work";
  test::TinyCheckpoint tiny = test::tiny_checkpoint();
  tiny.write(checkpoint);
  const std::string quantize = "quantize " + checkpoint.string() +
                               " --name tiny --calibration-tokens 128 --threads 1 --work " + work.string();
  std::filesystem::create_directory(work);
  {
    const Fd lock(::open((work / "lock").c_str(), O_RDWR | O_CREAT, 0666));
    ASSERT_EQ(::flock(lock.get(), LOCK_EX), 0);
    EXPECT_EQ(code(quantize), 7);
  }
  EXPECT_EQ(code(quantize), 0);
  EXPECT_EQ(code("registry policy enforce"), 0);
  EXPECT_EQ(code("run tiny x"), 9);
  tiny.config["architectures"] = {"TotallyDifferentForCausalLM"};
  tiny.write(checkpoint);
  EXPECT_EQ(code(quantize), 5);

  test::write_text(path, std::string(5000, 'x'));
  EXPECT_EQ(code("registry list"), 4);
}

TEST(ExitCodes, MergeOfAMissingFolderMakesNoRegistry) {
  const test::ScratchFolder scratch;
  const std::string path = (scratch / "r.db").string();
  EXPECT_EQ(run_dgq("quantize --merge " + (scratch / "nowhere").string() + " --name x --registry " + path)
                .exit_code,
            3);
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace dgq
