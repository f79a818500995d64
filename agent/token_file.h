// agent/token_file.h - the bearer tokens that clients may come with.
#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

#include "base/digest.h"

namespace dgq::agent {

class BearerTokens {
 public:
  // One per line, 16 to 1024 printable characters without spaces; empty lines and lines that begin with # do
  // not count. invalid: others than the owner may read or write the file, or it holds no token; the message
  // names no token.
  static Result<BearerTokens> read(const std::filesystem::path& file);

  // "Bearer TOKEN" with one of them? Takes the same time whichever differs, and wherever: digests are
  // compared, all of them.
  bool accept(std::string_view authorization) const;

 private:
  std::vector<Digest> digests_;
};

}  // namespace dgq::agent
