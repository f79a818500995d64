#include "bench/build.h"

#ifdef __GLIBC__
#include <gnu/libc-version.h>
#endif

#include "bench/build_flags.h"
#include "bench/commit.h"

namespace dgq::bench {

Json build_facts() {
  Json facts = {
      {"version", DGQ_VERSION},
#ifdef __clang__
      {"compiler", "clang " __clang_version__},
#else
      {"compiler", "gcc " __VERSION__},
#endif
      {"flags", kFlags},
      {"type", kBuildType},
      {"commit", *kCommit ? Json(kCommit) : Json()},
#ifdef DGQ_SANITIZED
      {"sanitized", true},
#else
      {"sanitized", false},
#endif
  };
#ifdef __GLIBC__
  facts["libc"] = std::string("glibc ") + ::gnu_get_libc_version();
#else
  facts["libc"] = nullptr;
#endif
  if (!*kCommit) facts["unknown"] = {{"commit", "not built from a git checkout"}};
  return facts;
}

}  // namespace dgq::bench
