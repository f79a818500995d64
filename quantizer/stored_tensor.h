// quantizer/stored_tensor.h - a tensor as a checkpoint's file holds it, whatever the container, and its values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kernels/float16.h"

namespace dgq {

struct StoredTensor {
  std::string dtype;                 // as safetensors spells it: "F32", "BF16", ...; and GGUF's "Q8_0"
  std::vector<std::uint64_t> shape;  // slowest dimension first; empty: a scalar
  std::span<const std::byte> data;   // into the file, of the size that dtype and shape ask for; not aligned
};

// bfloat16 is the upper half of a binary32.
float bf16_to_f32(std::uint16_t half);

// All elements as float32. `where` names file and tensor. unsupported: dtype not F32, F16, BF16 or Q8_0; corrupt: an
// element is NaN or infinite, with its index.
Result<std::vector<float>> to_f32(const StoredTensor& tensor, std::string_view where);
// unsupported: dtype not I32.
Result<std::vector<std::int32_t>> to_i32(const StoredTensor& tensor, std::string_view where);

// Whether to_f32 takes this dtype.
bool holds_floats(std::string_view dtype);

// "[4096, 384]"
std::string shape_text(std::span<const std::uint64_t> shape);

}  // namespace dgq
