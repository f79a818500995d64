#include "plugin/ggml/carried.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <mutex>
#include <optional>

#include "plugin/ggml/versions.h"
#include "runtime/gguf_carrier.h"

namespace dgq::ggml {
namespace {

namespace fs = std::filesystem;

// The version that the file behind a descriptor of this process names as its own, if it is a fat one.
std::optional<Digest> fat_version(const fs::path& descriptor) {
  struct stat status;
  if (::stat(descriptor.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
  const Fd file(::open(descriptor.c_str(), O_RDONLY | O_CLOEXEC));  // the host's own may have O_DIRECT
  std::array<std::byte, kGgufMarkBytes> bytes;
  if (!file || ::pread(file.get(), bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    return std::nullopt;
  return read_fat_mark(bytes);
}

// Once for each reason, not for each tensor.
void say_fallback(const std::string& why) {
  static std::mutex mutex;
  static std::string said;
  const std::lock_guard lock(mutex);
  if (said == why) return;
  said = why;
  log_line(GGML_LOG_LEVEL_WARN, why + "; the weights in the file are used instead");
}

bool of_open_fat_file(const char* name) {
  std::error_code error;
  for (fs::directory_iterator entry("/proc/self/fd", error), end; !error && entry != end;
       entry.increment(error)) {
    const auto version = fat_version(entry->path());
    if (!version) continue;
    const auto linears = open_version(*version);
    if (!linears) {
      say_fallback(linears.error().what);
    } else if ((*linears)->holds(name)) {
      return true;
    }
  }
  return false;
}

}  // namespace

Result<Carrier> read_carrier(ggml_type type, std::span<const std::byte> data, const std::string& where) {
  if (type == GGML_TYPE_I8) return parse_carrier(data.first(std::min(data.size(), kCarrierBytes)), where);
  return parse_carrier(read_signs(data), where);
}

bool takes(const ggml_tensor& weight) {
  return weight.type == GGML_TYPE_I8 || (weight.type == GGML_TYPE_Q8_0 && of_open_fat_file(weight.name));
}

}  // namespace dgq::ggml
