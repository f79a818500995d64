// plugin/ggml/versions.h - versions of the registry that the host's files name, mapped once for all models that use them.
#pragma once

#include <memory>

#include "base/digest.h"
#include "base/result.h"
#include "runtime/stored_linears.h"

namespace dgq::ggml {

// The version, from the registry named by $DGQ_REGISTRY; layer files beside it or in $DGQ_CACHE. A version that is mapped already is
// given again; the last one stays mapped when nobody uses it any more. Thread-safe.
Result<std::shared_ptr<const StoredLinears>> open_version(const Digest& digest);

}  // namespace dgq::ggml
