// tools/exit_codes.h - what `dgq` exits with: one table for every command, stable for scripts.
#pragma once

#include <span>

#include "base/result.h"

namespace dgq::tools {

inline constexpr int kExitFindings = 1;  // it ran, and what it looked for is there
inline constexpr int kExitUsage = 2;     // Errc::invalid is this as well
inline constexpr int kExitInternal = 8;  // an exception that no command expects

struct ExitCode {
  int code;
  const char* meaning;
};
std::span<const ExitCode> exit_codes();  // ascending
int exit_code(Errc error);

}  // namespace dgq::tools
