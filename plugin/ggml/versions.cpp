#include "plugin/ggml/versions.h"

#include <cstdlib>
#include <map>
#include <mutex>

#include "plugin/ggml/host.h"

namespace dgq::ggml {
namespace {

Result<Model> load(const Digest& digest) {
  const std::filesystem::path path = default_registry_path();
  DGQ_TRY(Registry registry, Registry::open(path, Registry::Mode::read_only));
  const char* cache = std::getenv("DGQ_CACHE");
  LayerCache layers(cache && *cache ? std::filesystem::path(cache) : LayerCache::default_folder(path));
  auto model = Model::load(registry, layers, digest.hex());
  if (!model && model.error().code == Errc::not_found)
    return Error{Errc::not_found, "version " + digest.short_hex() + " is not in " + path.string() +
                                      ": import it, or set DGQ_REGISTRY to the registry that has it"};
  return model;
}

void report(const Model& model) {
  for (const std::string& warning : model.warnings()) log_line(GGML_LOG_LEVEL_WARN, warning);
  log_line(GGML_LOG_LEVEL_INFO, "version " + model.version().digest.short_hex() + ", " +
                                    std::to_string(model.footprint().bytes_mapped >> 10) + " KiB mapped in " +
                                    std::to_string(model.footprint().files) + " files of " +
                                    default_registry_path().string());
}

}  // namespace

Result<std::shared_ptr<const Model>> open_version(const Digest& digest) {
  static std::mutex mutex;
  static std::map<Digest, std::weak_ptr<const Model>> known;
  static std::shared_ptr<const Model> last;  // so that a host which asks first and loads then maps it once
  const std::lock_guard lock(mutex);
  if (auto model = known[digest].lock()) return last = model;
  DGQ_TRY(Model model, load(digest));
  last = std::make_shared<const Model>(std::move(model));
  known[digest] = last;
  report(*last);
  return last;
}

}  // namespace dgq::ggml
