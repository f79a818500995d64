#include "runtime/mapped_version.h"

namespace dgq {

Result<std::span<const std::byte>> MappedVersion::map(Registry& registry, LayerCache& cache,
                                                      const BlobRef& blob) {
  DGQ_TRY(LayerCache::Entry entry, cache.materialise(registry, blob));
  footprint_.bytes_mapped += entry.file.bytes().size();
  ++footprint_.files;
  footprint_.files_reused += entry.reused ? 1 : 0;
  files_.push_back(std::move(entry.file));
  return files_.back().bytes();
}

void MappedVersion::remember(Registry& registry, const Usable& usable) {
  if (const auto remembered = remember_use(registry, usable); !remembered)
    warnings_.push_back("the counter of its signature was not remembered: " + remembered.error().what);
}

}  // namespace dgq
