// agent/stop_scanner.h - finds stop strings in a text that comes in pieces: the one that is complete first,
// and of those that end together the longest. How the text was cut makes no difference.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace dgq::agent {

class StopScanner {
 public:
  explicit StopScanner(std::vector<std::string> stops) : stops_(std::move(stops)) {}  // none of them empty

  // The text that is certain to stand before a stop string; what might be the beginning of one is held back.
  // After a stop string was found there is no more.
  std::string push(const std::string& piece);
  std::string finish() { return std::exchange(held_, {}); }  // what was held back at the end
  bool found() const { return found_; }

 private:
  std::size_t possible_beginning() const;

  std::vector<std::string> stops_;
  std::string held_;
  bool found_ = false;
};

}  // namespace dgq::agent
