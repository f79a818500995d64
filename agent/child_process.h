// agent/child_process.h - another program, run to its end or to its limit.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"

namespace dgq::agent {

struct ChildEnd {
  enum class How { exited, killed, timed_out, stopped } how;
  int code;  // exit code, or signal
};

// Starts it with nothing but stdin (empty), stdout and our stderr, and no signal blocked. line: each line that it prints, at
// most kLongestLine of it. go_on: asked about every 20 ms; false stops it. Threads: as many at once as one likes. io: it cannot
// be started.
Result<ChildEnd> run_child(const std::vector<std::string>& words, std::chrono::milliseconds limit,
                           const std::function<void(const std::string&)>& line,
                           const std::function<bool()>& go_on);
inline constexpr std::size_t kLongestLine = 64 << 10;

const char* signal_name(int signal);  // "Segmentation fault"

}  // namespace dgq::agent
