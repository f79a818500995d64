// tests/registry/exchange.h - bundles in memory, and the SQL that looks at deltas.
#pragma once

#include "registry/chunk.h"
#include "tests/registry/fixture.h"

namespace dgq::test {

// Takes the third step of the schema back, and those after it.
inline constexpr const char* kBeforeSignatures =
    "DROP VIEW needed_version; DROP TABLE expectation; DROP TABLE deployment_run; DROP TABLE deployment;"
    "DROP TABLE signature; DROP TABLE trusted_key; DROP TABLE accepted; DROP TABLE setting; DROP TABLE run;";

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

// A registry with two versions, and others to bring them to.
class ExchangeFixture : public RegistryFixture {
 protected:
  ExchangeFixture() {
    Registry registry = open();
    large_.push_back({"large", pseudo_weights(kChunkBytes + 12'345, 2)});  // two chunks
    large_.push_back({"raw", noise(12'345, 3)});
    large_.push_back({"empty", {}});
    one_ = *add(registry, "demo:one", model(1));
    two_ = *add(registry, "team/demo:two", large_);
  }
  Registry other(const char* name = "other.db") {
    return std::move(*Registry::open(scratch_ / name, Registry::Mode::read_write, true));
  }
  Model large_ = model(1);
  Digest one_, two_;
};

}  // namespace dgq::test
