// Any text either parses, and then its canonical form is a fixed point, or gives an Error.
#include <cstdlib>

#include "registry/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  static_cast<void>(dgq::ModelRef::parse(text));
  const auto manifest = dgq::Manifest::parse(text, "fuzz");
  if (!manifest) return 0;
  const std::string canonical = manifest->canonical();
  const auto again = dgq::Manifest::parse(canonical, "fuzz");
  if (!again || again->canonical() != canonical) std::abort();
  return 0;
}
