// quantizer/gguf_output.h - writes GGUF files, version 3 (format: quantizer/gguf.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "quantizer/calibration.h"
#include "quantizer/gguf.h"

namespace dgq {

// Metadata, in the order in which they are added. Keys must differ.
class GgufMetadata {
 public:
  void add(std::string_view key, std::uint32_t value);
  void add(std::string_view key, float value);
  void add(std::string_view key, bool value);
  void add(std::string_view key, std::string_view value);
  void add(std::string_view key, const char* value) { add(key, std::string_view(value)); }
  void add(std::string_view key, const std::vector<std::string>& values);
  void add(std::string_view key, const std::vector<std::int32_t>& values);
  void add(std::string_view key, const std::vector<float>& values);
  // An entry of another file.
  void add(const GgufEntry& entry);

  const std::string& bytes() const { return bytes_; }
  std::uint64_t count() const { return count_; }

 private:
  void begin(std::string_view key, std::uint32_t type);
  void begin_array(std::string_view key, std::uint32_t type, std::size_t count);
  std::string bytes_;
  std::uint64_t count_ = 0;
};

enum class GgufType : std::uint32_t { f32 = 0, f16 = 1, q8_0 = 8, i8 = 24, bf16 = 30 };

struct GgufTensor {
  std::string name;
  std::vector<std::uint64_t> shape;  // slowest dimension first
  GgufType type;
  std::function<Result<void>(AtomicFile&)> write;  // appends gguf_bytes() bytes
};
std::uint64_t gguf_bytes(const GgufTensor& tensor);
// A tensor of another file as it stands there. It borrows the data. Precondition: a type that parse_gguf() takes.
GgufTensor same_tensor(const std::string& name, const StoredTensor& tensor);

// The file is there afterwards, whole, or not at all; one that was there is replaced.
Result<void> write_gguf(const std::filesystem::path& path, const GgufMetadata& metadata,
                        const std::vector<GgufTensor>& tensors, const Fraction& progress = {});

}  // namespace dgq
