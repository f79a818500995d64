#include "agent/private_file.h"

#include <sys/stat.h>

#include "base/file.h"

namespace dgq::agent {

Result<void> check_private(const std::filesystem::path& file) {
  struct stat info;
  if (::stat(file.c_str(), &info) != 0) return errno_error("read", file, errno);
  if ((info.st_mode & 077) == 0) return {};
  return Error{Errc::invalid,
               file.native() + " may be read or written by others than its owner: chmod 600 " + file.native()};
}

}  // namespace dgq::agent
