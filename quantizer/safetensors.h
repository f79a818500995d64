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
#include <vector>

#include "base/file.h"
#include "base/result.h"

namespace dgq {

inline constexpr std::size_t kMaxSafetensorsHeader = 100'000'000;  // the format's own limit

struct SafeTensor {
  std::string dtype;                 // as the header spells it: "F32", "BF16", ...
  std::vector<std::uint64_t> shape;  // slowest dimension first; empty: a scalar
  std::span<const std::byte> data;   // into the file; not aligned to anything
};
using SafeTensors = std::map<std::string, SafeTensor, std::less<>>;

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

// IEEE binary16 to binary32, exact for every input (subnormals, infinities, NaN payloads).
float f16_to_f32(std::uint16_t half);
// bfloat16 is the upper half of a binary32.
float bf16_to_f32(std::uint16_t half);

// All elements as float32. `where` names file and tensor. unsupported: dtype not F32, F16 or BF16; corrupt:
// an element is NaN or infinite, with its index.
Result<std::vector<float>> to_f32(const SafeTensor& tensor, std::string_view where);
// unsupported: dtype not I32.
Result<std::vector<std::int32_t>> to_i32(const SafeTensor& tensor, std::string_view where);

// "[4096, 384]"
std::string shape_text(std::span<const std::uint64_t> shape);

}  // namespace dgq
