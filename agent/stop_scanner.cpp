#include "agent/stop_scanner.h"

#include <algorithm>
#include <string_view>

namespace dgq::agent {

std::string StopScanner::push(const std::string& piece) {
  if (found_) return {};
  held_ += piece;
  std::size_t begin = held_.npos, end = held_.npos;
  for (const std::string& stop : stops_) {
    const std::size_t at = held_.find(stop);
    if (at == held_.npos || std::pair(at + stop.size(), at) >= std::pair(end, begin)) continue;
    begin = at, end = at + stop.size();
  }
  found_ = begin != held_.npos;
  const std::size_t certain = found_ ? begin : held_.size() - possible_beginning();
  std::string text = held_.substr(0, certain);
  held_.erase(0, found_ ? held_.size() : certain);
  return text;
}

// Bytes at the end of held_ with which a stop string begins.
std::size_t StopScanner::possible_beginning() const {
  std::size_t longest = 0;
  for (const std::string& stop : stops_)
    for (std::size_t count = std::min(stop.size() - 1, held_.size()); count > longest; --count)
      if (std::string_view(held_).ends_with(std::string_view(stop).substr(0, count))) longest = count;
  return longest;
}

}  // namespace dgq::agent
