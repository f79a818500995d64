// bench/child.h - other programs: started, read, waited for.
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace dgq::bench {

// What the program writes to stdout. The first word is a path or a name in PATH. Its stderr is kept for the Error: not_found: it cannot be
// started; unsupported: it failed, with its last line and exit code; invalid: it writes more than most_bytes.
Result<std::string> run_program(const std::vector<std::string>& words, std::size_t most_bytes);

// A program that runs beside this one, with its stdout and stderr in a file. Told to end (SIGTERM), and waited for, in the destructor.
class RunningProgram {
 public:
  static Result<RunningProgram> start(const std::vector<std::string>& words, const std::string& log);
  RunningProgram(RunningProgram&& other) noexcept : child_(std::exchange(other.child_, 0)) {}
  RunningProgram& operator=(RunningProgram&&) = delete;
  ~RunningProgram();
  bool ended();  // by itself
  pid_t id() const { return child_; }

 private:
  explicit RunningProgram(pid_t child) : child_(child) {}
  pid_t child_;  // 0: it has ended
};

}  // namespace dgq::bench
