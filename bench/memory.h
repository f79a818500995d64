// bench/memory.h - large buffers, asked for only when there is room.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"

namespace dgq::bench {

// MemAvailable: what can be had without pushing anything out to disk.
Result<std::uint64_t> available_memory_bytes();

// invalid, when `bytes` is more than that: "WHAT needs 3.9 GB of memory, 2.1 GB are available".
Result<void> check_memory(const std::string& what, std::uint64_t bytes);

// Zeroed memory in huge pages where the kernel has them, as the page cache has them for large files. Move-only.
class Pages {
 public:
  static Result<Pages> map(std::size_t bytes);  // bytes > 0
  Pages(Pages&& other) noexcept : bytes_(other.bytes_) { other.bytes_ = {}; }
  Pages& operator=(Pages&&) = delete;
  ~Pages();
  std::span<std::byte> bytes() const { return bytes_; }

 private:
  explicit Pages(std::span<std::byte> bytes) : bytes_(bytes) {}
  std::span<std::byte> bytes_;
};

}  // namespace dgq::bench
