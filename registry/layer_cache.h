// registry/layer_cache.h - blobs as files, named by digest, ready to map: <folder>/<2 hex>/<64 hex>.
#pragma once

#include <filesystem>

#include "base/file.h"
#include "registry/registry.h"

namespace dgq {

class LayerCache {
 public:
  // folder: --cache, by default the registry's path with ".layers" appended. Created when needed.
  explicit LayerCache(std::filesystem::path folder);
  static std::filesystem::path default_folder(const std::filesystem::path& registry_path);

  struct Entry { MappedFile file; bool reused; };  // reused: the file was there
  // The blob as a read-only shared map. Decodes to a temporary file, hashes, fsyncs, renames (0444), fsyncs the folder.
  // A file that is there is trusted by size and by the stamp of its verification (docs/FORMAT.md); one whose bytes changed
  // since is hashed again, and replaced when wrong. full disk, read-only folder: io, nothing half-written stays.
  Result<Entry> materialise(Registry& registry, const BlobRef& blob);

 private:
  std::filesystem::path folder_;
};

}  // namespace dgq
