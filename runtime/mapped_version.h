// runtime/mapped_version.h - a version that may be used, and those of its blobs that are mapped.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "registry/layer_cache.h"
#include "registry/trust.h"

namespace dgq {

// Move-only; maps stay where they are when it moves.
class MappedVersion {
 public:
  MappedVersion() = default;
  explicit MappedVersion(const Usable& usable) : version_(usable.version), warnings_(usable.warnings) {}

  // Materialises the blob where it is not in the cache yet.
  Result<std::span<const std::byte>> map(Registry& registry, LayerCache& cache, const BlobRef& blob);
  // remember_use(), whose Error is a warning.
  void remember(Registry& registry, const Usable& usable);

  const VersionInfo& version() const { return version_; }
  const std::vector<std::string>& warnings() const { return warnings_; }  // of signatures

  struct Footprint {
    std::uint64_t bytes_mapped = 0;
    std::size_t files = 0, files_reused = 0;  // the rest was materialised by this load
  };
  const Footprint& footprint() const { return footprint_; }

 private:
  VersionInfo version_;
  std::vector<std::string> warnings_;
  std::vector<MappedFile> files_;
  Footprint footprint_;
};

}  // namespace dgq
