// tests/support/command.h - runs the built `dgq` as a user would.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "tests/support/paths.h"

namespace dgq::test {

// A folder of this test's own, removed at the end.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "dgq-test-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

struct Outcome {
  int exit_code = -1;  // 128 + signal when killed
  std::string out, err;
  // Of `err`. What is at work for seconds shows progress (" 40% layers.1, 9 s left"), so on a slow machine there is more.
  std::size_t error_lines() const {
    std::istringstream lines(err);
    std::size_t count = 0;
    for (std::string line; std::getline(lines, line);) {
      const std::size_t percent = line.find('%');
      const bool progress = percent != std::string::npos && percent <= 3 &&
                            line.find_first_not_of(" 0123456789") == percent;
      count += !progress;
    }
    return count;
  }
};

inline std::string file_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

// A line for /bin/sh; start the command in it with dgq_command().
inline Outcome run_shell(const std::string& line) {
  const ScratchFolder scratch;
  const std::string wrapped =
      "( " + line + " ) >" + (scratch / "out").string() + " 2>" + (scratch / "err").string() + " </dev/null";
  const int status = std::system(wrapped.c_str());
  Outcome outcome;
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  outcome.out = file_text(scratch / "out");
  outcome.err = file_text(scratch / "err");
  return outcome;
}

// Memory of this build is that of a release build: no sanitizer, no emulator.
inline bool memory_counts() {
#ifdef DGQ_SANITIZED
  return false;
#else
  return dgq_command().find("qemu") == std::string::npos;
#endif
}
inline Outcome run_dgq(const std::string& arguments) { return run_shell(dgq_command() + " " + arguments); }

}  // namespace dgq::test
