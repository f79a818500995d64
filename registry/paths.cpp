#include <cstdlib>

#include "registry/layer_cache.h"
#include "registry/registry.h"

namespace dgq {

std::filesystem::path default_registry_path() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::filesystem::path(value ? value : "");
  };
  if (const auto path = variable("DGQ_REGISTRY"); !path.empty()) return path;
  if (const auto path = variable("XDG_DATA_HOME"); !path.empty()) return path / "dgq" / "registry.db";
  return variable("HOME") / ".local" / "share" / "dgq" / "registry.db";
}

std::filesystem::path LayerCache::default_folder(const std::filesystem::path& registry_path) {
  return registry_path.string() + ".layers";
}

}  // namespace dgq
