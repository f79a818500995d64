#include "bench/memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstdio>
#include <fstream>

#include "base/file.h"

namespace dgq::bench {
namespace {

std::string gigabytes(std::uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f GB", static_cast<double>(bytes) * 1e-9);
  return text;
}

}  // namespace

Result<std::uint64_t> available_memory_bytes() {
  constexpr const char* kFile = "/proc/meminfo";
  std::ifstream file(kFile);
  std::uint64_t kibibytes;
  for (std::string key; file >> key; file.ignore(256, '\n'))
    if (key == "MemAvailable:" && file >> kibibytes) return kibibytes * 1024;
  return Error{Errc::unsupported, std::string(kFile) + " has no MemAvailable"};
}

Result<void> check_memory(const std::string& what, std::uint64_t bytes) {
  DGQ_TRY(const std::uint64_t available, available_memory_bytes());
  if (bytes <= available) return {};
  return Error{Errc::invalid, what + " needs " + gigabytes(bytes) + " of memory, " + gigabytes(available) +
                                  " are available"};
}

Result<Pages> Pages::map(std::size_t bytes) {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return errno_error("cannot map " + gigabytes(bytes) + " of", "memory", errno);
  ::madvise(memory, bytes, MADV_HUGEPAGE);  // fails where there are none: just as well
  return Pages(std::span(static_cast<std::byte*>(memory), bytes));
}

Pages::~Pages() {
  if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
}

}  // namespace dgq::bench
