#include "agent/agent_lock.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <span>

namespace dgq::agent {
namespace {

constexpr std::size_t kLongestContents = 4096;

std::filesystem::path lock_path(const std::filesystem::path& registry) {
  return registry.string() + ".agent";
}

struct flock whole_file(short type) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  return lock;
}

}  // namespace

Result<AgentLock> AgentLock::take(const std::filesystem::path& registry,
                                  const std::filesystem::path& unix_socket) {
  const auto path = lock_path(registry);
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!fd) return errno_error("open", path, errno);
  struct flock lock = whole_file(F_WRLCK);
  if (::fcntl(fd.get(), F_OFD_SETLK, &lock) != 0) {
    if (errno != EAGAIN && errno != EACCES) return errno_error("lock", path, errno);
    return Error{Errc::busy, "another agent looks after the deployments of " + registry.string() +
                                 ": stop it, or name a model to serve only that one"};
  }
  if (::ftruncate(fd.get(), 0) != 0) return errno_error("write", path, errno);
  DGQ_CHECK(write_all(fd.get(), std::as_bytes(std::span(unix_socket.native())), path));
  return AgentLock(std::move(fd));
}

std::optional<RunningAgent> find_agent(const std::filesystem::path& registry) {
  const auto path = lock_path(registry);
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return std::nullopt;
  struct flock lock = whole_file(F_RDLCK);
  if (::fcntl(fd.get(), F_OFD_GETLK, &lock) != 0 || lock.l_type == F_UNLCK) return std::nullopt;
  const auto text = read_file(path, kLongestContents);
  return RunningAgent{text ? *text : ""};
}

}  // namespace dgq::agent
