// Any bytes as a .gguf file: every tensor that is accepted lies inside the file and has the size of its shape; what the
// metadata says of the model and its tokenizer is something that the runtime takes, or an Error.
#include <cstdlib>

#include "quantizer/gguf.h"
#include "quantizer/gguf_config.h"
#include "quantizer/gguf_tokenizer.h"
#include "runtime/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes = std::as_bytes(std::span(data, size));
  const auto gguf = dgq::parse_gguf(bytes, "fuzz");
  if (!gguf) return 0;
  for (const auto& [name, tensor] : gguf->tensors) {
    if (tensor.data.data() < bytes.data() || tensor.data.data() + tensor.data.size() > bytes.data() + size)
      std::abort();
    std::uint64_t elements = 1;
    for (const std::uint64_t dimension : tensor.shape) elements *= dimension;
    const auto floats = dgq::to_f32(tensor, name);
    if (floats && floats->size() != elements) std::abort();
  }
  if (const auto config = dgq::config_from_gguf(*gguf, "fuzz")) {
    const auto again = dgq::parse_config(dgq::config_to_json(*config), "canonical");
    if (!again || !(*again == *config)) std::abort();
  }
  if (const auto tokenizer = dgq::tokenizer_from_gguf(gguf->metadata, "fuzz")) {
    const auto parsed = dgq::Tokenizer::parse(*tokenizer, "fuzz");
    if (parsed) static_cast<void>(parsed->encode("a text", true));
  }
  return 0;
}
