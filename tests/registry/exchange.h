// tests/registry/exchange.h - bundles in memory, and the SQL that looks at deltas.
#pragma once

#include "tests/registry/fixture.h"

namespace dgq::test {

inline Result<std::string> export_text(Registry& registry, const std::vector<std::string>& names,
                                       const std::optional<std::string>& since = {}) {
  std::string text;
  DGQ_CHECK(registry.export_bundle(names, since, [&](std::span<const std::byte> bytes) -> Result<void> {
    text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return {};
  }));
  return text;
}

// Gives the text in pieces of odd sizes, as a pipe does.
inline ByteSource source_of(std::string_view text) {
  return [text](std::span<std::byte> into) mutable -> Result<std::size_t> {
    const std::size_t size = std::min({into.size(), text.size(), std::size_t{70'001}});
    std::memcpy(into.data(), text.data(), size);
    text.remove_prefix(size);
    return size;
  };
}

inline Result<BundleSummary> import_text(Registry& registry, std::string_view text) {
  return registry.import_bundle(source_of(text), "x.dgqb");
}

}  // namespace dgq::test
