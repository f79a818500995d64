// base/time.h - moments as people read them.
#pragma once

#include <cstdint>
#include <ctime>
#include <string>

namespace dgq {

inline std::string utc_time(std::int64_t unix_s) {
  const std::time_t time = unix_s;
  std::tm parts{};
  char text[32] = "";
  if (::gmtime_r(&time, &parts)) std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

}  // namespace dgq
