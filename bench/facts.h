// bench/facts.h - facts about a machine, read from /proc and /sys. What cannot be read is null, with the reason; nothing fails.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace dgq::bench {

// {"cpu": "...", "governor": null, "unknown": {"governor": "cannot open /sys/...: No such file or directory"}}
class Facts {
 public:
  // root: where /proc and /sys are, "/" but in tests.
  explicit Facts(std::filesystem::path root) : root_(std::move(root)) {}
  void set(const char* name, Json value) { facts_[name] = std::move(value); }
  void unknown(const char* name, const std::string& why) {
    facts_[name] = nullptr;
    why_[name] = why;
  }
  template <class T>
  void set_or_why(const char* name, const Result<T>& value) {
    value ? set(name, *value) : unknown(name, value.error().what);
  }

  // A file's text (at most 1 MiB) without white space at its ends.
  Result<std::string> text(const std::string& path) const;
  Result<double> number(const std::string& path) const;
  bool exists(const std::string& path) const;
  // Names in a folder that begin so, sorted by length, then by name: cpu0, cpu1, cpu10. Empty when there is no folder.
  std::vector<std::string> names(const std::string& folder, std::string_view beginning) const;

  Json finish() &&;

 private:
  std::filesystem::path in(const std::string& path) const { return root_ / path.substr(1); }
  std::filesystem::path root_;
  Json facts_ = Json::object(), why_ = Json::object();
};

}  // namespace dgq::bench
