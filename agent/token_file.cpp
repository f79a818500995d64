#include "agent/token_file.h"

#include <algorithm>
#include <sstream>
#include <string>

#include "agent/private_file.h"
#include "base/file.h"

namespace dgq::agent {
namespace {

constexpr std::size_t kLargestFile = 1 << 20, kShortest = 16, kLongest = 1024;

bool is_token(const std::string& text) {
  return text.size() >= kShortest && text.size() <= kLongest &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 127; });
}

}  // namespace

Result<BearerTokens> BearerTokens::read(const std::filesystem::path& file) {
  DGQ_CHECK(check_private(file));
  DGQ_TRY(const std::string text, read_file(file, kLargestFile));
  BearerTokens tokens;
  std::istringstream lines(text);
  std::size_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    if (line.empty() || line.front() == '#') continue;
    if (!is_token(line))
      return Error{Errc::invalid, file.native() + ", line " + std::to_string(number) +
                                      ": a token has 16 to 1024 printable ASCII characters without spaces"};
    tokens.digests_.push_back(sha256(line));
  }
  if (tokens.digests_.empty()) return Error{Errc::invalid, file.native() + " holds no token"};
  return tokens;
}

bool BearerTokens::accept(std::string_view authorization) const {
  constexpr std::string_view kScheme = "Bearer ";
  if (!authorization.starts_with(kScheme)) return false;
  const Digest given = sha256(authorization.substr(kScheme.size()));
  bool found = false;
  for (const Digest& digest : digests_) {
    unsigned difference = 0;
    for (std::size_t i = 0; i < digest.bytes.size(); ++i) difference |= digest.bytes[i] ^ given.bytes[i];
    found |= difference == 0;
  }
  return found;
}

}  // namespace dgq::agent
