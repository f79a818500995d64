// `dgq completion`: the candidates, and the scripts in real shells.
#include <gtest/gtest.h>

#include <set>

#include "tests/support/command.h"
#include "tests/support/not_covered.h"
#include "tests/support/tiny_checkpoint.h"

namespace dgq {
namespace {

using test::Outcome;
using test::run_shell;

class CompletionTest : public ::testing::Test {
 protected:
  // A registry with the names demo:latest, demo:stable and other/x:latest, found through $DGQ_REGISTRY; and `dgq` on the PATH.
  static void SetUpTestSuite() {
    folder_ = new test::ScratchFolder;
    test::tiny_checkpoint().write(*folder_ / "tiny");
    write_executable("dgq", "#!/bin/sh\nexec " + test::dgq_command() + " \"$@\"\n");
    for (const std::string& command : {"quantize " + (*folder_ / "tiny").string() +
                                           " --name demo --calibration-tokens 128 --threads 1 --recipe fast",
                                       std::string("registry copy demo:latest demo:stable"),
                                       std::string("registry copy demo:latest other/x")}) {
      const Outcome made = run(command);
      ASSERT_EQ(made.exit_code, 0) << made.err;
    }
  }
  static void TearDownTestSuite() { delete folder_; }

  static void write_executable(const std::string& name, const std::string& text) {
    test::write_text(*folder_ / name, text);
    std::filesystem::permissions(*folder_ / name, std::filesystem::perms::owner_all);
  }
  static Outcome run_line(const std::string& line) {
    return run_shell("cd " + folder_->path().string() + "; PATH=" + folder_->path().string() +
                     ":$PATH DGQ_REGISTRY=" + (*folder_ / "r.db").string() + " " + line);
  }
  static Outcome run(const std::string& arguments) { return run_line("dgq " + arguments); }

  // Without their descriptions.
  static std::set<std::string> lines(const std::string& text) {
    std::set<std::string> found;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) found.insert(line.substr(0, line.find('\t')));
    return found;
  }
  static std::set<std::string> candidates(const std::string& words) {
    const Outcome outcome = run("completion candidates -- " + words);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return lines(outcome.out);
  }
  // What bash puts in place of the last word of `line` (up to the last ':' or '=', as readline does).
  static std::set<std::string> in_bash(const std::string& line) {
    test::write_text(*folder_ / "ask.bash", "eval \"$(dgq completion bash)\"\nCOMP_LINE='" + line +
                                                "' COMP_POINT=${#COMP_LINE}\n_dgq\n(( ${#COMPREPLY[@]} )) && "
                                                "printf '%s\\n' \"${COMPREPLY[@]}\"\n:");
    const Outcome outcome = run_line("bash --norc ask.bash");
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_EQ(outcome.err, "");
    return lines(outcome.out);
  }
  static bool installed(const char* shell) {
    if (run_shell(std::string("command -v ") + shell).exit_code == 0) return true;
    test::not_covered(std::string("completion in ") + shell + ": not installed");
    return false;
  }

  static test::ScratchFolder* folder_;
};
test::ScratchFolder* CompletionTest::folder_ = nullptr;

using Words = std::set<std::string>;

TEST_F(CompletionTest, CommandsAndTheirOptions) {
  EXPECT_TRUE(candidates("''").contains("registry"));
  EXPECT_EQ(candidates("reg"), Words{"registry"});
  EXPECT_EQ(candidates("registry re"), (Words{"remove", "rename"}));
  EXPECT_EQ(candidates("registry log --s"), Words{"--since"});
  EXPECT_EQ(candidates("registry gc --"),
            (Words{"--cache", "--help", "--interrupted", "--json", "--registry", "--work"}));
  EXPECT_EQ(candidates("registry verify --"), (Words{"--cache", "--from", "--help", "--json", "--model",
                                                     "--policy", "--registry", "--repair"}));
  EXPECT_EQ(candidates("nosuch x"), candidates("x")) << "an unknown word changes nothing";
}

// Every command of every group says its options, without running; and has a help with examples, which a terminal of 80 columns holds.
TEST_F(CompletionTest, EveryCommandIsThere) {
  const auto before = std::filesystem::file_size(*folder_ / "r.db");
  std::vector<std::string> commands, groups;
  for (const std::string& command : candidates("''")) {
    if (!candidates(command + " --").empty()) {
      commands.push_back(command);
      continue;
    }
    groups.push_back(command);
    const Words children = candidates(command + " ''");
    EXPECT_FALSE(children.empty()) << command;
    for (const std::string& child : children) commands.push_back(command + " " + child);
  }
  for (const std::string& command : commands) {
    EXPECT_TRUE(candidates(command + " --h").contains("--help")) << command;
    const Outcome help = run(command + " --help");
    EXPECT_EQ(help.exit_code, 0) << command;
    EXPECT_NE(help.out.find("\nExamples:\n  "), std::string::npos) << command;
    std::istringstream in(help.out.substr(0, help.out.find("\nExamples:")));
    for (std::string line; std::getline(in, line);) EXPECT_LE(line.size(), 80u) << command << ": " << line;
  }
  for (const std::string& group : groups) {
    EXPECT_EQ(run(group + " --help").exit_code, 0) << group;
    EXPECT_EQ(run(group).exit_code, 2) << group;
  }
  EXPECT_EQ(std::filesystem::file_size(*folder_ / "r.db"), before);
}

TEST_F(CompletionTest, NamesOfTheRegistry) {
  const Words all = {"demo:latest", "demo:stable", "other/x:latest"};
  EXPECT_EQ(candidates("registry show ''"), all);
  EXPECT_EQ(candidates("registry show demo:s"), Words{"demo:stable"});
  EXPECT_EQ(candidates("registry diff demo:latest o"), Words{"other/x:latest"});
  EXPECT_EQ(candidates("registry show demo ''"), Words{}) << "it takes one";
  EXPECT_EQ(candidates("registry verify --repair demo:s"), Words{"demo:stable"});
  EXPECT_EQ(candidates("registry verify --repair --from ''"), Words{}) << "a file";
  EXPECT_EQ(candidates("registry export demo:latest --since o"), Words{"other/x:latest"});
  EXPECT_EQ(candidates("registry export demo:latest demo:stable o"), Words{"other/x:latest"})
      << "it takes any number";
  EXPECT_EQ(candidates("run de"), (Words{"demo:latest", "demo:stable"}));
  EXPECT_EQ(candidates("eval perplexity --model o"), Words{"other/x:latest"});
  EXPECT_EQ(candidates("eval compare demo:l"), Words{"demo:latest"});
  EXPECT_EQ(candidates("eval compare demo:latest o"), Words{"other/x:latest"});
  EXPECT_EQ(candidates("eval compare models/demo ''"), all);
  EXPECT_EQ(candidates("eval compare demo:latest other/x ''"), Words{}) << "it takes two";
  EXPECT_EQ(candidates("eval perplexity --text ''"), Words{}) << "files are the shell's";
  EXPECT_EQ(candidates("registry show --registry " + (*folder_ / "none.db").string() + " ''"), Words{});
  EXPECT_EQ(candidates("registry show --registry=none.db ''"), Words{});
  EXPECT_FALSE(std::filesystem::exists(*folder_ / "none.db"));
}

TEST_F(CompletionTest, InBash) {
  EXPECT_EQ(in_bash("dgq regi"), Words{"registry"});
  EXPECT_EQ(in_bash("dgq registry un"), Words{"untag"});
  EXPECT_TRUE(in_bash("dgq registry ").contains("list"));
  EXPECT_EQ(in_bash("dgq registry show demo"), (Words{"demo:latest", "demo:stable"}));
  EXPECT_EQ(in_bash("dgq registry show demo:"), (Words{"latest", "stable"}))
      << "what is before the colon is there";
  EXPECT_EQ(in_bash("dgq registry show demo:st"), Words{"stable"});
  EXPECT_EQ(in_bash("dgq registry tag demo:latest oth"), Words{"other/x:latest"});
  EXPECT_EQ(in_bash("dgq eval perplexity --text "), Words{}) << "then readline offers files";
}

TEST_F(CompletionTest, InZsh) {
  if (!installed("zsh")) return;
  // compadd and compdef work inside a completion only: stand-ins print what they are given.
  test::write_text(*folder_ / "ask.zsh",
                   "compdef() { : }\n_files() { print files }\ncompadd() { print -l -- ${(P)${@[-1]}} }\n"
                   "eval \"$(dgq completion zsh)\"\nwords=(dgq registry show demo:s) CURRENT=4\n_dgq\n"
                   "words=(dgq eval perplexity --text '') CURRENT=5\n_dgq\n");
  const Outcome outcome = run_line("zsh -f ask.zsh");
  EXPECT_EQ(outcome.out, "demo:stable\nfiles\n") << outcome.err;
  EXPECT_EQ(outcome.err, "");
}

TEST_F(CompletionTest, InFish) {
  if (!installed("fish")) return;
  test::write_text(*folder_ / "ask.fish",
                   "dgq completion fish | source\ncomplete -C 'dgq registry show demo:s'\ncomplete -C 'dgq "
                   "registry unt'\n");
  const Outcome outcome = run_line("fish --no-config ask.fish");
  EXPECT_EQ(lines(outcome.out), (Words{"demo:stable", "untag"})) << outcome.out << outcome.err;
}

}  // namespace
}  // namespace dgq
