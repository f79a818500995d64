#include "agent/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"

extern char** environ;

namespace dgq::agent {
namespace {

constexpr int kPollMs = 20;

class Attributes {
 public:
  Attributes() {
    ::posix_spawnattr_init(&attributes_);
    ::posix_spawn_file_actions_init(&actions_);
  }
  Attributes(const Attributes&) = delete;
  ~Attributes() {
    ::posix_spawnattr_destroy(&attributes_);
    ::posix_spawn_file_actions_destroy(&actions_);
  }

  // 0, or an errno.
  int start(const std::vector<std::string>& words, int output, pid_t& pid) {
    sigset_t none;
    ::sigemptyset(&none);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    ::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK);
    ::posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_adddup2(&actions_, output, STDOUT_FILENO);
    // Sockets of clients among them, who would wait for this process to close its side as well.
    ::posix_spawn_file_actions_addclosefrom_np(&actions_, STDERR_FILENO + 1);
    std::vector<char*> arguments;
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    return ::posix_spawnp(&pid, arguments[0], &actions_, &attributes_, arguments.data(), environ);
  }

 private:
  posix_spawnattr_t attributes_;
  posix_spawn_file_actions_t actions_;
};

// Lines of a stream of bytes.
class Lines {
 public:
  explicit Lines(const std::function<void(const std::string&)>& line) : line_(line) {}
  void add(const char* bytes, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      if (bytes[i] == '\n')
        line_(std::exchange(begun_, {}));
      else if (begun_.size() < kLongestLine)
        begun_ += bytes[i];
    }
  }

 private:
  const std::function<void(const std::string&)>& line_;
  std::string begun_;
};

}  // namespace

const char* signal_name(int signal) {
  const char* name = ::sigdescr_np(signal);
  return name ? name : "unknown";
}

Result<ChildEnd> run_child(const std::vector<std::string>& words, std::chrono::milliseconds limit,
                           const std::function<void(const std::string&)>& line,
                           const std::function<bool()>& go_on) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return errno_error("make a pipe for", words.front(), errno);
  const Fd from(ends[0]);
  Fd to(ends[1]);
  pid_t pid = -1;
  if (const int failed = Attributes().start(words, to.get(), pid); failed != 0)
    return errno_error("start", words.front(), failed);
  to = Fd();

  const auto deadline = std::chrono::steady_clock::now() + limit;
  ChildEnd end{ChildEnd::How::exited, 0};
  Lines lines(line);
  char bytes[4096];
  bool printing = true;
  int status = 0;
  while (true) {
    pollfd ready{printing ? from.get() : -1, POLLIN, 0};
    if (::poll(&ready, 1, kPollMs) > 0) {
      const ssize_t count = ::read(from.get(), bytes, sizeof bytes);
      if (count > 0) lines.add(bytes, static_cast<std::size_t>(count));
      printing = count != 0;
    }
    if (!printing && ::waitpid(pid, &status, WNOHANG) == pid) break;
    if (std::chrono::steady_clock::now() >= deadline)
      end.how = ChildEnd::How::timed_out;
    else if (!go_on())
      end.how = ChildEnd::How::stopped;
    else
      continue;
    ::kill(pid, SIGKILL);
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return end;
  }
  if (WIFSIGNALED(status)) return ChildEnd{ChildEnd::How::killed, WTERMSIG(status)};
  return ChildEnd{ChildEnd::How::exited, WEXITSTATUS(status)};
}

}  // namespace dgq::agent
