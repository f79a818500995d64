// tests/agent/process.h - `dgq agent` in the background, and what it logs.
#pragma once

#include <gtest/gtest.h>

#include <csignal>

#include "base/json.h"
#include "tests/support/command.h"

namespace dgq::agent::test {

// A shell line that runs in the background; its stderr is read as it comes.
class Process {
 public:
  explicit Process(const std::string& line) {
    int ends[2];
    EXPECT_EQ(::pipe(ends), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(ends[1], STDERR_FILENO);
      ::close(ends[0]);
      ::close(ends[1]);
      ::execl("/bin/sh", "sh", "-c", ("exec " + line).c_str(), nullptr);
      ::_exit(127);
    }
    ::close(ends[1]);
    err_ = ::fdopen(ends[0], "r");
  }
  Process(const Process&) = delete;
  ~Process() {
    if (pid_ > 0) ::kill(pid_, SIGKILL);
    wait();
    std::fclose(err_);
  }

  // The next line of stderr with this event, as --log-json writes it; null: it ended first.
  Json wait_for(const std::string& event) {
    char line[4096];
    while (std::fgets(line, sizeof line, err_)) {
      const Json json = Json::parse(line, nullptr, false);
      if (json.is_object() && json["event"] == event) return json;
    }
    return nullptr;
  }
  bool ended() {
    if (pid_ > 0 && ::waitpid(pid_, &status_, WNOHANG) == pid_) pid_ = -1;
    return pid_ < 0;
  }
  void signal(int number) { ::kill(pid_, number); }
  int wait() {
    if (pid_ > 0) ::waitpid(std::exchange(pid_, -1), &status_, 0);
    return WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
  }

 private:
  pid_t pid_;
  int status_ = 0;
  std::FILE* err_;
};

}  // namespace dgq::agent::test
