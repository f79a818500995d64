#include "agent/deployed_models.h"

#include <thread>

namespace dgq::agent {

DeployedModels::Place* DeployedModels::place(std::string_view name) {
  if (const auto found = places_.find(name); found != places_.end()) return &found->second;
  const bool has_tag = name.find(':') != name.npos;
  for (auto& [deployment, place] : places_)
    if (name.empty() || (has_tag ? place.model.text() == name
                                 : place.model.model == name && place.model.tag == ModelRef().tag))
      return &place;
  return nullptr;
}

std::shared_ptr<ServedModel> DeployedModels::find(std::string_view name) {
  {
    const std::lock_guard lock(mutex_);
    Place* found = place(name);
    if (!found) return nullptr;
    found->used = Clock::now();
    if (found->served) return found->served;
    found->missed = true;
  }
  if (wake_) wake_();
  return nullptr;
}

std::vector<std::shared_ptr<ServedModel>> DeployedModels::all() {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<ServedModel>> models;
  for (const auto& [name, place] : places_)
    if (place.served) models.push_back(place.served);
  return models;
}

bool DeployedModels::coming(std::string_view name) {
  const std::lock_guard lock(mutex_);
  const Place* found = place(name);
  return found && !found->served;
}

std::shared_ptr<ServedModel> DeployedModels::put(const std::string& deployment, const ModelRef& model,
                                                 std::shared_ptr<ServedModel> served) {
  const std::lock_guard lock(mutex_);
  Place& place = places_[deployment];
  place.model = model;
  place.missed = false;
  place.used = Clock::now();
  return std::exchange(place.served, std::move(served));
}

std::shared_ptr<ServedModel> DeployedModels::remove(const std::string& deployment) {
  const std::lock_guard lock(mutex_);
  const auto found = places_.find(deployment);
  if (found == places_.end()) return nullptr;
  auto served = std::move(found->second.served);
  places_.erase(found);
  return served;
}

std::shared_ptr<ServedModel> DeployedModels::get(const std::string& deployment) const {
  const std::lock_guard lock(mutex_);
  const auto found = places_.find(deployment);
  return found == places_.end() ? nullptr : found->second.served;
}

bool DeployedModels::missed(const std::string& deployment) const {
  const std::lock_guard lock(mutex_);
  const auto found = places_.find(deployment);
  return found != places_.end() && found->second.missed;
}

std::optional<DeployedModels::Clock::duration> DeployedModels::idle(const std::string& deployment) const {
  const std::lock_guard lock(mutex_);
  const auto found = places_.find(deployment);
  if (found == places_.end() || !found->second.served) return std::nullopt;
  const EngineStats stats = found->second.served->engine->stats();
  if (stats.processing + stats.waiting > 0) return std::nullopt;
  return Clock::now() - found->second.used;
}

bool retire(std::shared_ptr<ServedModel> model, std::chrono::milliseconds patience) {
  if (!model) return true;
  const auto deadline = std::chrono::steady_clock::now() + patience;
  // Whoever found it before it was replaced still submits its request, which must not meet an engine that takes no more.
  while (model.use_count() > 1 && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  {
    const auto ordered =
        model;  // use_count() orders nothing; letting go of a copy comes after all who let go before
  }
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  return model->engine->drain(std::max(left, std::chrono::milliseconds(0)));
}

}  // namespace dgq::agent
