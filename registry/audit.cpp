#include "registry/audit.h"

#include <pwd.h>
#include <unistd.h>

#include <chrono>
#include <climits>

namespace dgq {

std::int64_t unix_now_s() {
  using namespace std::chrono;
  return duration_cast<seconds>(system_clock::now().time_since_epoch()).count();
}

std::string who_am_i() {
  char host[HOST_NAME_MAX + 1] = "";
  ::gethostname(host, sizeof host - 1);
  std::string who = std::to_string(::geteuid());
#ifndef DGQ_STATIC  // names of users come from libraries that a statically linked program can only load with its own glibc beside it
  char buffer[4096];
  passwd entry, *found = nullptr;
  ::getpwuid_r(::geteuid(), &entry, buffer, sizeof buffer, &found);
  if (found) who = found->pw_name;
#endif
  return who + "@" + host;
}

Result<void> write_audit(sqlite::Db& db, std::string_view action, std::string_view subject,
                         const std::optional<Digest>& from, const std::optional<Digest>& to) {
  return db.run(
      "INSERT INTO audit(time, who, tool, action, subject, from_digest, to_digest) VALUES (?, ?, ?, ?, ?, ?, "
      "?)",
      unix_now_s(), who_am_i(), "dgq " DGQ_VERSION, action, subject, from, to);
}

}  // namespace dgq
