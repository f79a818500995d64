#include "agent/private_file.h"

#include <sys/stat.h>

#include <cstdlib>

#include "base/file.h"

namespace dgq::agent {
namespace {

// Where systemd puts credentials (LoadCredential=): nobody else gets into the folder. The files in there
// belong to root and say by an access list that we may read them, which looks as if their group could.
bool is_credential(const std::filesystem::path& file) {
  const char* folder = std::getenv("CREDENTIALS_DIRECTORY");
  return folder && file.parent_path() == folder;
}

}  // namespace

Result<void> check_private(const std::filesystem::path& file) {
  struct stat info;
  if (::stat(file.c_str(), &info) != 0) return errno_error("read", file, errno);
  if ((info.st_mode & 077) == 0 || ((info.st_mode & 037) == 0 && is_credential(file))) return {};
  return Error{Errc::invalid, file.native() + " may be read or written by others than its owner: chmod 600 " +
                                  file.native()};
}

}  // namespace dgq::agent
