#include "base/sha256_beside.h"

namespace dgq {

void Sha256Beside::update(std::span<const std::byte> bytes) {
  wait();
  constexpr std::size_t kWorthAThread = 1 << 20;  // hashing it takes 1 ms, making a thread 0.03
  if (bytes.size() < kWorthAThread) return hash_.update(bytes);
  bytes_.assign(bytes.begin(), bytes.end());
  hashing_ = std::async([this] { hash_.update(bytes_); });  // deferred to wait() where no thread can be made
}

Digest Sha256Beside::finish() {
  wait();
  return hash_.finish();
}

void Sha256Beside::wait() {
  if (hashing_.valid()) hashing_.get();
}

}  // namespace dgq
