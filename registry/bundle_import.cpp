// registry/bundle_import.cpp - a bundle into the registry.
#include "registry/exchange.h"

namespace dgq {

Result<BundleSummary> Registry::import_bundle(const ByteSource& source, const std::string& where,
                                              const BlobProgress& progress) {
  BundleReader reader(source, where);
  DGQ_TRY(const BundleContents contents, reader.begin());
  return import_contents(*state_, contents, where, progress, [&](Receiver& receiver) -> Result<void> {
    for (const BundleBlob& blob : contents.blobs)
      DGQ_CHECK(receiver.receive(blob, [&](std::uint64_t left) { return reader.next(left); }));
    return reader.finish();
  });
}

}  // namespace dgq
