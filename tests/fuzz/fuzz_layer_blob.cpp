// Any bytes either parse into tensors that lie inside them, or give an Error.
#include <cstdlib>

#include "registry/layer_blob.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  const auto blob = dgq::LayerBlob::parse(bytes, "fuzz");
  if (!blob) return 0;
  for (const dgq::Tensor& tensor : blob->tensors()) {
    const bool inside = tensor.section.data() >= bytes.data() &&
                        tensor.section.data() + tensor.section.size() <= bytes.data() + bytes.size();
    if (!inside || tensor.section.empty() || blob->find(tensor.name) != &tensor) std::abort();
  }
  return 0;
}
