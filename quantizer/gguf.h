// quantizer/gguf.h - reads GGUF files, versions 2 and 3, little-endian. Memory-mapped.
//
//   0      "GGUF", u32 version, u64 number of tensors, u64 number of metadata entries
//   24     metadata    per entry: key (string), u32 type, value
//                      string: u64 length, bytes; array: u32 type of its elements, u64 count, elements
//          tensors     per tensor: name (string), u32 dimensions, u64 each (fastest first), u32 type, u64 offset
//          data        from the next multiple of general.alignment (32 without it) on; offsets count from here
//
// Format: docs/gguf.md of the ggml project.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "base/file.h"
#include "base/json.h"
#include "base/result.h"
#include "quantizer/stored_tensor.h"

namespace dgq {

inline constexpr std::uint64_t kMaxGgufArray = 1u << 24;  // elements; vocabularies have 2^18

struct GgufEntry {
  std::string key;
  std::span<const std::byte> bytes;  // key, type and value as they stand in the file
};

struct Gguf {
  // Numbers, booleans, strings and arrays of them under their keys. A float32 is the double that its shortest decimal
  // form means (1e-05 and not 9.999999747378752e-06), as a config.json would spell it.
  Json metadata;
  std::vector<GgufEntry> entries;  // of the same, in their order; they borrow from the file
  std::map<std::string, StoredTensor, std::less<>> tensors;  // they borrow from the file
};

// All of a file in memory. Checked: every length and count against what the file holds, keys and names unique and UTF-8,
// tensors back to back as the format asks, each of the size that its shape takes. corrupt or unsupported (other versions,
// big-endian, arrays of arrays, tensor types but F32, F16, BF16 and Q8_0, by name), starting with `where`.
Result<Gguf> parse_gguf(std::span<const std::byte> bytes, std::string_view where);

// A mapped file and its contents. Move-only; tensors are valid as long as the object.
struct GgufFile {
  std::filesystem::path path;
  MappedFile map;
  Gguf content;
  static Result<GgufFile> open(const std::filesystem::path& path);
};

}  // namespace dgq
