// bench/child.h - other programs: started, read, waited for.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace dgq::bench {

// What the program writes to stdout. The first word is a path or a name in PATH. Its stderr is kept for the Error: not_found: it cannot be
// started; unsupported: it failed, with its last line and exit code; invalid: it writes more than most_bytes.
Result<std::string> run_program(const std::vector<std::string>& words, std::size_t most_bytes);

}  // namespace dgq::bench
