#include "bench/facts.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <span>

#include "base/file.h"

namespace dgq::bench {

Result<std::string> Facts::text(const std::string& path) const {
  constexpr std::size_t kMost = std::size_t{1} << 20;
  // Not read_file(): such files say that they are empty.
  const Fd file(::open(in(path).c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return errno_error("open", path, errno);
  std::string text(kMost, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    DGQ_TRY(const std::size_t got,
            read_some(file.get(), std::as_writable_bytes(std::span(text).subspan(size)), path));
    if (got == 0) break;
    size += got;
  }
  text.resize(size);
  constexpr std::string_view kSpace(" \n\t\0", 4);  // texts of the device tree end with a 0
  text.erase(0, text.find_first_not_of(kSpace));
  text.erase(text.find_last_not_of(kSpace) + 1);
  if (text.empty()) return Error{Errc::unsupported, path + " is empty"};
  return text;
}

Result<double> Facts::number(const std::string& path) const {
  DGQ_TRY(const std::string words, text(path));
  double value = 0;
  const auto [end, error] = std::from_chars(words.data(), words.data() + words.size(), value);
  if (error != std::errc() || !std::isfinite(value)) return Error{Errc::unsupported, path + " has no number"};
  return value;
}

bool Facts::exists(const std::string& path) const {
  std::error_code ignored;
  return std::filesystem::exists(in(path), ignored);
}

std::vector<std::string> Facts::names(const std::string& folder, std::string_view beginning) const {
  std::vector<std::string> found;
  std::error_code error;
  for (std::filesystem::directory_iterator it(in(folder), error), end; !error && it != end;
       it.increment(error))
    if (std::string name = it->path().filename().string(); name.starts_with(beginning))
      found.push_back(std::move(name));
  std::sort(found.begin(), found.end(), [](const std::string& a, const std::string& b) {
    return a.size() != b.size() ? a.size() < b.size() : a < b;
  });
  return found;
}

Json Facts::finish() && {
  if (!why_.empty()) facts_["unknown"] = std::move(why_);
  return std::move(facts_);
}

}  // namespace dgq::bench
