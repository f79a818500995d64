// Bytes as what stands in a GGUF tensor in place of a weight, and as the beginning of a GGUF file: what parses has one spelling.
#include <cstdlib>
#include <cstring>

#include "runtime/gguf_carrier.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  if (const auto carrier = dgq::parse_carrier(bytes, "fuzz"))
    if (std::memcmp(dgq::encode_carrier(*carrier).data(), data, dgq::kCarrierBytes) != 0) std::abort();
  if (const auto carrier = dgq::parse_carrier(dgq::read_signs(bytes), "fuzz"))
    if (dgq::encode_carrier(*carrier) != dgq::read_signs(bytes)) std::abort();
  static_cast<void>(dgq::read_fat_mark(bytes));
  return 0;
}
