// plugin/objects.h - the objects behind the handles of dgq.h.
#pragma once

#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "plugin/call.h"
#include "plugin/handles.h"
#include "runtime/linear.h"
#include "runtime/model.h"
#include "runtime/sampler.h"
#include "runtime/session.h"
#include "runtime/tokenizer.h"

namespace dgq::plugin {

struct RegistryObject {
  Registry registry;
  std::mutex mutex;
};

struct NamedLinear {
  std::string name;
  const Linear* linear;
  float input_scale;  // 0: found for every row and block
};

// Immutable once it is open, so that calls on it run side by side.
struct ModelObject {
  Model model;
  Tokenizer tokenizer;
  Kernels kernels;
  int threads;
  std::vector<NamedLinear> linears;
};

struct SessionObject {
  SessionObject(std::shared_ptr<const ModelObject> of, std::size_t context)
      : model(std::move(of)),
        decoder(model->model.config(), model->kernels, model->threads, model->model.activation_block()),
        session(model->model.config(), model->model.weights(), decoder, context, KvType::int8) {}

  std::shared_ptr<const ModelObject> model;
  std::mutex mutex;
  Decoder decoder;
  Session session;
  std::vector<std::int32_t> tokens;  // so far
  std::optional<SamplerOptions> sampling;
  std::optional<Sampler> sampler;  // of these options
};

Handles<dgq_registry, RegistryObject>& registries();
Handles<dgq_model, ModelObject>& models();
Handles<dgq_session, SessionObject>& sessions();

// What the handle stands for. DGQ_BAD_HANDLE: nothing.
template <class Handle, class Object>
std::shared_ptr<Object> object_of(const Handles<Handle, Object>& handles, const Handle* handle) {
  auto object = handles.find(handle);
  if (!object) refuse(DGQ_BAD_HANDLE, "the handle is NULL, closed, or of another kind");
  return object;
}
template <class Handle, class Object>
dgq_status close(Handles<Handle, Object>& handles, const Handle* handle) {
  return call([&] {
    if (!handles.remove(handle)) refuse(DGQ_BAD_HANDLE, "the handle is NULL, closed, or of another kind");
  });
}

}  // namespace dgq::plugin
