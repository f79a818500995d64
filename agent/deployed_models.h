// agent/deployed_models.h - the models of deployments: they come, change and go while requests are answered.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <optional>

#include "agent/models.h"
#include "registry/manifest.h"

namespace dgq::agent {

// Requests name a deployment, or the model[:tag] that it wants; among several of these the first deployment by name counts.
class DeployedModels : public Models {
 public:
  using Clock = std::chrono::steady_clock;

  std::shared_ptr<ServedModel> find(std::string_view name) override;
  std::vector<std::shared_ptr<ServedModel>> all() override;
  bool coming(std::string_view name) override;

  // What follows is the deployer's. wake: called, by any thread, when a request names a model that is not loaded.
  void on_missed(std::function<void()> wake) { wake_ = std::move(wake); }  // before the first find()
  // From now on requests get this one, or, with null, are told to come again. Returns the one before; retire() it.
  std::shared_ptr<ServedModel> put(const std::string& deployment, const ModelRef& model,
                                   std::shared_ptr<ServedModel> served);
  std::shared_ptr<ServedModel> remove(const std::string& deployment);
  std::shared_ptr<ServedModel> get(const std::string& deployment) const;
  bool missed(const std::string& deployment) const;  // a request has named it since it was put as null
  // Since the last request for it; nullopt: requests are being answered.
  std::optional<Clock::duration> idle(const std::string& deployment) const;

 private:
  struct Place {
    ModelRef model;
    std::shared_ptr<ServedModel> served;
    Clock::time_point used = Clock::now();
    bool missed = false;
  };
  Place* place(std::string_view name);

  mutable std::mutex mutex_;
  std::map<std::string, Place, std::less<>> places_;
  std::function<void()> wake_;
};

// Waits until nobody is about to submit a request to it and its requests have ended, at most `patience`; then it is gone, and
// what has not ended is cancelled. False: that was so.
bool retire(std::shared_ptr<ServedModel> model, std::chrono::milliseconds patience);

}  // namespace dgq::agent
