#include "agent/prefix_files.h"

namespace dgq::agent {

namespace fs = std::filesystem;

fs::path PrefixFiles::path_of(const std::string& name) const {
  return naming_ == Naming::one ? file_ : fs::path(file_.string() + "." + name);
}

void PrefixFiles::load(const ServedModel& model) const {
  const auto& cache = model.engine->options().prefix_cache;
  if (file_.empty() || !cache) return;
  const fs::path path = path_of(model.name);
  const auto loaded = cache->load(path, *Digest::parse(model.version));
  if (loaded)
    return log_.write(Log::Level::info, "prefix_cache",
                      {{"file", path.string()}, {"blocks", cache->stats().blocks}});
  if (loaded.error().code == Errc::not_found) return;
  log_.write(Log::Level::warning, "prefix_cache", {{"why", loaded.error().what + "; it starts empty"}});
  if (naming_ == Naming::by_model) remove(model.name);  // of a version that is served no more, or damaged
}

void PrefixFiles::save(const ServedModel& model) const {
  const auto& cache = model.engine->options().prefix_cache;
  if (file_.empty() || !cache) return;
  if (const auto saved = cache->save(path_of(model.name), *Digest::parse(model.version)); !saved)
    log_.write(Log::Level::warning, "prefix_cache", {{"why", saved.error().what}});
}

void PrefixFiles::remove(const std::string& name) const {
  if (file_.empty()) return;
  std::error_code error;
  fs::remove(path_of(name), error);
  if (error)
    log_.write(Log::Level::warning, "prefix_cache",
               {{"why", "cannot remove " + path_of(name).string() + ": " + error.message()}});
}

void PrefixFiles::remove_all_but(const std::set<std::string>& names) const {
  if (file_.empty()) return;
  const std::string prefix = file_.filename().string() + ".";
  const fs::path folder = file_.has_parent_path() ? file_.parent_path() : fs::path(".");
  std::set<std::string> others;
  std::error_code error, gone;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string file = it->path().filename().string();
    if (!file.starts_with(prefix) || names.contains(file.substr(prefix.size()))) continue;
    if (it->is_regular_file(gone) && PrefixCache::is_saved(it->path()))
      others.insert(file.substr(prefix.size()));
  }
  for (const std::string& name : others) remove(name);
}

}  // namespace dgq::agent
