// Gives each file of a folder to a fuzz target once, without libFuzzer: so every build replays the corpus. A file that makes the
// target allocate without bounds fails as well, where memory can be limited (not under sanitizers or qemu).
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

void limit_memory() {
#ifndef DGQ_SANITIZED
  // Above the sum of the limits that the formats declare: contents of 16 MiB, in JSON and as text, and a few chunks of 4 MiB.
  constexpr rlim_t kMemoryBytes = 128 << 20;
  unsigned long pages = 0;  // of data and stacks, shared libraries' threads included
  if (std::FILE* statm = std::fopen("/proc/self/statm", "r")) {
    if (std::fscanf(statm, "%*u %*u %*u %*u %*u %lu", &pages) != 1) pages = 0;
    std::fclose(statm);
  }
  if (pages == 0) return;
  const rlim_t bytes = pages * static_cast<rlim_t>(::sysconf(_SC_PAGESIZE)) + kMemoryBytes;
  const rlimit limit{bytes, bytes};
  ::setrlimit(RLIMIT_DATA, &limit);
#endif
}

}  // namespace

int main(int, char** arguments) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(arguments[1])) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  limit_memory();
  for (const auto& file : files) {
    std::printf("%s\n", file.filename().c_str());
    std::fflush(stdout);  // the last one that is named is the one that failed
    std::ifstream in(file, std::ios::binary);
    const std::vector<std::uint8_t> bytes(std::istreambuf_iterator<char>(in), {});
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  }
  if (files.empty()) std::printf("no file in %s\n", arguments[1]);
  return files.empty() ? 1 : 0;
}
