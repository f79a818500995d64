// quantizer/safetensors.h - reads .safetensors files: a length, a JSON header, tensors back to back.
// Memory-mapped.
//
//   0      header length N     u64 little-endian, at most kMaxSafetensorsHeader
//   8      header              N bytes of JSON: {"name": {"dtype": "BF16", "shape": [n, k], "data_offsets":
//   [begin, end]},
//                              ..., "__metadata__": {...}}, padded with spaces
//   8 + N  data                offsets count from here; no holes, no overlap, nothing after the last tensor
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "base/file.h"
#include "base/result.h"
#include "quantizer/stored_tensor.h"

namespace dgq {

inline constexpr std::size_t kMaxSafetensorsHeader = 100'000'000;  // the format's own limit

using SafeTensors = std::map<std::string, StoredTensor, std::less<>>;

// All tensors of a file in memory; they borrow from `bytes`. Checked: the header's length and JSON, every
// range (inside the data, back to back), every size against shape and dtype. corrupt, starting with `where`.
// A dtype that this build does not know passes here (the size is then unchecked) and is refused when it is
// used.
Result<SafeTensors> parse_safetensors(std::span<const std::byte> bytes, std::string_view where);

// A mapped file and its tensors. Move-only; tensors are valid as long as the object.
struct SafetensorsFile {
  std::filesystem::path path;
  MappedFile map;
  SafeTensors tensors;
  static Result<SafetensorsFile> open(const std::filesystem::path& path);
};

}  // namespace dgq
