// agent/log.h - one line per event on stderr. Prompts and answers never go here.
//
//   2026-11-23T02:00:00Z info request path=/v1/completions status=200 tokens=16
//   {"time":"2026-11-23T02:00:00Z","level":"info","event":"request","path":"/v1/completions","status":200,"tokens":16}
//   <6>request path=/v1/completions status=200 tokens=16
//
// The last for systemd's journal (sd-daemon(3)), which keeps time and priority itself.
#pragma once

#include <atomic>
#include <cstdio>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace dgq::agent {

class Log {
 public:
  enum class Level { debug, info, warning, error };
  static Result<Level> parse_level(std::string_view text);

  Log(Level least, bool json, std::FILE* to = stderr, bool journal = false)
      : least_(least), json_(json), journal_(journal), to_(to) {}

  // Thread-safe.
  void set_level(Level least) { least_ = least; }

  // Thread-safe. fields: an object of strings and numbers.
  void write(Level level, std::string_view event, const OrderedJson& fields = OrderedJson::object()) const;

 private:
  std::atomic<Level> least_;
  const bool json_, journal_;
  std::FILE* const to_;
};

}  // namespace dgq::agent
