// Any bytes as a .safetensors file: every tensor that is accepted lies inside the file, and they fill its data.
#include <cstdlib>

#include "quantizer/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes = std::as_bytes(std::span(data, size));
  const auto tensors = dgq::parse_safetensors(bytes, "fuzz");
  if (!tensors) return 0;
  std::size_t total = 0;
  for (const auto& [name, tensor] : *tensors) {
    if (tensor.data.data() < bytes.data() || tensor.data.size() > size) std::abort();
    if (tensor.data.data() + tensor.data.size() > bytes.data() + size) std::abort();
    total += tensor.data.size();
    const auto floats = dgq::to_f32(tensor, name);
    const auto integers = dgq::to_i32(tensor, name);
    if (floats && floats->size() * 4 != tensor.data.size() && floats->size() * 2 != tensor.data.size())
      std::abort();
    if (integers && integers->size() * 4 != tensor.data.size()) std::abort();
  }
  if (total >= size) std::abort();
  return 0;
}
