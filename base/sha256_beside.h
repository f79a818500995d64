// base/sha256_beside.h - SHA-256 while the caller goes on.
#pragma once

#include <future>
#include <vector>

#include "base/digest.h"

namespace dgq {

// As Sha256 (base/digest.h), on a second thread where that can be had.
class Sha256Beside {
 public:
  void update(std::span<const std::byte> bytes);  // keeps a copy; waits for the bytes before these
  Digest finish();

 private:
  void wait();
  Sha256 hash_;
  std::vector<std::byte> bytes_;
  std::future<void> hashing_;  // last, as its destructor waits for it
};

}  // namespace dgq
