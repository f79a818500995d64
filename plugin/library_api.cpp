// plugin/library_api.cpp - dgq.h: this library, and registries.
#include "plugin/objects.h"
#include "runtime/kernel_report.h"

using namespace dgq;
using namespace dgq::plugin;

namespace dgq::plugin {

// Never destroyed: a thread of the host may still be in a call when the process ends.
Handles<dgq_registry, RegistryObject>& registries() {
  static auto& handles = *new Handles<dgq_registry, RegistryObject>;
  return handles;
}
Handles<dgq_model, ModelObject>& models() {
  static auto& handles = *new Handles<dgq_model, ModelObject>;
  return handles;
}
Handles<dgq_session, SessionObject>& sessions() {
  static auto& handles = *new Handles<dgq_session, SessionObject>;
  return handles;
}

}  // namespace dgq::plugin

uint32_t dgq_abi_version(void) { return DGQ_ABI_VERSION; }
const char* dgq_version(void) { return DGQ_VERSION; }

dgq_status dgq_kernel_report(char* text, size_t capacity, size_t* length) {
  return call([&] {
    const Kernels kernels = value_of(select_kernels_from_environment());
    give_text(kernel_report(kernels).dump(), text, capacity, length);
  });
}

dgq_status dgq_registry_open(const char* path, dgq_registry** registry) {
  return call([&] {
    not_null(registry, "registry");
    Registry opened = value_of(Registry::open(path ? std::filesystem::path(path) : default_registry_path(),
                                              Registry::Mode::read_only));
    *registry = registries().add(std::shared_ptr<RegistryObject>(new RegistryObject{std::move(opened), {}}));
  });
}

dgq_status dgq_registry_close(dgq_registry* registry) { return close(registries(), registry); }
