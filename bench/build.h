// bench/build.h - which build this is.
#pragma once

#include "base/json.h"

namespace dgq::bench {

// version, commit (null outside a git checkout), compiler, flags, type, sanitized, libc.
Json build_facts();

}  // namespace dgq::bench
