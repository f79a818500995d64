// registry/layer_cache.h - blobs as files, named by digest, ready to map: <folder>/<2 hex>/<64 hex>.
#pragma once

#include <filesystem>
#include <set>

#include "base/file.h"
#include "registry/registry.h"

namespace dgq {

class LayerCache {
 public:
  // folder: --cache, by default the registry's path with ".layers" appended. Created when needed.
  explicit LayerCache(std::filesystem::path folder);
  static std::filesystem::path default_folder(const std::filesystem::path& registry_path);
  std::filesystem::path path_of(const Digest& blob) const;

  struct Entry {
    MappedFile file;
    bool reused = false;    // the file was there and right
    bool replaced = false;  // a file was there and wrong
  };
  // The blob as a read-only shared map. Decodes to a temporary file, hashes, fsyncs, renames (0444), fsyncs
  // the folder. A file that is there is trusted by size and by the stamp of its verification
  // (docs/FORMAT.md); one whose bytes changed since is hashed again, and replaced when wrong. full disk,
  // read-only folder: io, nothing half-written stays.
  Result<Entry> materialise(Registry& registry, const BlobRef& blob);

  // Hashes every layer file, whatever its stamp says; the stamp of a wrong one is dropped, so that
  // materialise() replaces it. Faults are findings, not Errors. A folder that is not there has none.
  Result<VerifyReport> verify(
      const std::function<void(std::uint64_t done, std::uint64_t total)>& progress = {});

  // The layer files of other blobs than these: how many, and their bytes.
  struct Files {
    std::uint64_t count = 0, bytes = 0;
  };
  Result<Files> not_of(const std::set<Digest>& blobs) const;

  // Removes the files of blobs that the registry no longer has, and what dead processes left half-written.
  // Maps that are in use stay valid. Returns how many files. A folder belongs to one registry: others' files
  // would go as well (and come back when they are next used).
  Result<std::uint64_t> remove_unused(Registry& registry);

 private:
  std::filesystem::path folder_;
};

}  // namespace dgq
