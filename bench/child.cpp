#include "bench/child.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "base/file.h"

extern char** environ;

namespace dgq::bench {
namespace {

struct Pipe {
  Fd read, write;
};
Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return errno_error("make", "a pipe", errno);
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

Result<pid_t> spawn(const std::vector<std::string>& words, const Fd& out, const Fd& err) {
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, out.get(), STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, err.get(), STDERR_FILENO);
  sigset_t usual;  // this program ignores SIGPIPE, others need not
  ::sigemptyset(&usual);
  ::sigaddset(&usual, SIGPIPE);
  ::posix_spawnattr_setsigdefault(&attributes, &usual);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  pid_t child = 0;
  const int failed = ::posix_spawnp(&child, arguments[0], &actions, &attributes, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  if (failed) return Error{Errc::not_found, "cannot start " + words[0] + ": " + std::strerror(failed)};
  return child;
}

// Reads both until both end. false: the first has more than `most`. Of the second the end is kept.
bool read_both(const Fd& out, const Fd& err, std::string& text, std::string& last, std::size_t most) {
  constexpr std::size_t kKept = 4096;
  pollfd files[] = {{out.get(), POLLIN, 0}, {err.get(), POLLIN, 0}};
  while (files[0].fd >= 0 || files[1].fd >= 0) {
    if (::poll(files, 2, -1) < 0 && errno != EINTR) return true;
    for (pollfd& file : files) {
      if (file.fd < 0 || !(file.revents & (POLLIN | POLLHUP | POLLERR))) continue;
      char bytes[16384];
      const ssize_t got = ::read(file.fd, bytes, sizeof bytes);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) {
        file.fd = -1;
        continue;
      }
      std::string& to = file.fd == out.get() ? text : last;
      to.append(bytes, static_cast<std::size_t>(got));
      if (text.size() > most) return false;
      if (last.size() > kKept) last.erase(0, last.size() - kKept);
    }
  }
  return true;
}

std::string last_line(std::string text) {
  text.erase(text.find_last_not_of(" \n\r\t") + 1);
  return text.substr(text.find_last_of("\n\r") + 1);
}

}  // namespace

Result<std::string> run_program(const std::vector<std::string>& words, std::size_t most_bytes) {
  DGQ_TRY(Pipe out, make_pipe());
  DGQ_TRY(Pipe err, make_pipe());
  DGQ_TRY(const pid_t child, spawn(words, out.write, err.write));
  out.write = Fd();
  err.write = Fd();
  std::string text, last;
  const bool fits = read_both(out.read, err.read, text, last, most_bytes);
  if (!fits) ::kill(child, SIGKILL);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!fits)
    return Error{Errc::invalid, words[0] + " writes more than " + std::to_string(most_bytes) + " bytes"};
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return text;
  const std::string line = last_line(std::move(last));
  return Error{Errc::unsupported,
               words[0] +
                   (WIFEXITED(status) ? " failed with exit code " + std::to_string(WEXITSTATUS(status))
                                      : " was killed by signal " + std::to_string(WTERMSIG(status))) +
                   (line.empty() ? "" : ": " + line)};
}

Result<RunningProgram> RunningProgram::start(const std::vector<std::string>& words, const std::string& log) {
  const Fd file(::open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file) return errno_error("create", log, errno);
  DGQ_TRY(const pid_t child, spawn(words, file, file));
  return RunningProgram(child);
}

bool RunningProgram::ended() {
  if (child_ != 0 && ::waitpid(child_, nullptr, WNOHANG) == child_) child_ = 0;
  return child_ == 0;
}

RunningProgram::~RunningProgram() {
  if (ended()) return;
  ::kill(child_, SIGTERM);
  while (::waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace dgq::bench
