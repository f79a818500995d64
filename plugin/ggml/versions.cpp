#include "plugin/ggml/versions.h"

#include <cstdlib>
#include <map>
#include <mutex>

#include "plugin/ggml/host.h"

namespace dgq::ggml {
namespace {

Result<StoredLinears> load(const Digest& digest) {
  const std::filesystem::path path = default_registry_path();
  DGQ_TRY(Registry registry, Registry::open(path, Registry::Mode::read_only));
  const char* cache = std::getenv("DGQ_CACHE");
  LayerCache layers(cache && *cache ? std::filesystem::path(cache) : LayerCache::default_folder(path));
  auto linears = StoredLinears::load(registry, layers, digest.hex());
  if (!linears && linears.error().code == Errc::not_found)
    return Error{Errc::not_found, "version " + digest.short_hex() + " is not in " + path.string() +
                                      ": import it, or set DGQ_REGISTRY to the registry that has it"};
  return linears;
}

void report(const StoredLinears& version) {
  for (const std::string& warning : version.warnings()) log_line(GGML_LOG_LEVEL_WARN, warning);
  log_line(GGML_LOG_LEVEL_INFO, "version " + version.version().digest.short_hex() + ", " +
                                    std::to_string(version.footprint().bytes_mapped >> 10) +
                                    " KiB mapped in " + std::to_string(version.footprint().files) +
                                    " files of " + default_registry_path().string());
}

}  // namespace

Result<std::shared_ptr<const StoredLinears>> open_version(const Digest& digest) {
  static std::mutex mutex;
  static std::map<Digest, std::weak_ptr<const StoredLinears>> known;
  static std::shared_ptr<const StoredLinears>
      last;  // so that a host which asks first and loads then maps it once
  const std::lock_guard lock(mutex);
  if (auto version = known[digest].lock()) return last = version;
  DGQ_TRY(StoredLinears linears, load(digest));
  last = std::make_shared<const StoredLinears>(std::move(linears));
  known[digest] = last;
  report(*last);
  return last;
}

}  // namespace dgq::ggml
