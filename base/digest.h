// base/digest.h - SHA-256 (FIPS 180-4): the name of every blob and of every model version.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace dgq {

struct Digest {
  std::array<std::uint8_t, 32> bytes{};
  std::string hex() const;                                       // 64 lower-case digits
  std::string short_hex() const { return hex().substr(0, 12); }  // for people
  static Result<Digest> parse(std::string_view hex);             // invalid: not 64 hex digits
  auto operator<=>(const Digest&) const = default;
};

// A file and what was in it.
struct FileDigest {
  std::string name;
  Digest digest;
  auto operator<=>(const FileDigest&) const = default;
};

// Incremental hash. Any number of update() calls, then finish() once.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  void update(std::span<const std::byte> bytes);
  Digest finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

Digest sha256(std::span<const std::byte> bytes);
Digest sha256(std::string_view text);

}  // namespace dgq
