// plugin/ggml/backend.cpp - libggml-dgq.so: a ggml backend that llama.cpp loads through GGML_BACKEND_PATH.
//
// Its device is of type ACCEL, so llama.cpp offers it every weight before the CPU, and the weights that it takes go into its
// buffer type. Two devices are behind it: the one that the host sees, whose buffers hold weights, and that of running backends, whose
// buffers are the CPU's, so that activations are shared with the CPU backend and never copied.
#include <new>
#include <string>

#include "plugin/ggml/carried.h"
#include "plugin/ggml/compute.h"
#include "plugin/ggml/host.h"
#include "plugin/ggml/weights.h"

namespace dgq::ggml {
namespace {

constexpr const char* kName = "DGQ";

ggml_backend_reg& registration();
ggml_backend_device& weight_device();
ggml_backend_device& compute_device();

const char* device_name(ggml_backend_dev_t) { return kName; }
const char* device_description(ggml_backend_dev_t) {
  return "Dual Grained Quantization, weights from a dgq registry";
}
// Nothing of its own: 0 means that there is nothing to report.
void device_memory(ggml_backend_dev_t, std::size_t* free, std::size_t* total) { *free = *total = 0; }
enum ggml_backend_dev_type device_type(ggml_backend_dev_t) { return GGML_BACKEND_DEVICE_TYPE_ACCEL; }

void device_properties(ggml_backend_dev_t device, ggml_backend_dev_props* properties) {
  *properties = {};
  properties->name = device_name(device);
  properties->description = device_description(device);
  properties->type = device_type(device);
}

// llama.cpp asks whether a weight could be used before it has its data, with a made-up input and an empty buffer.
bool is_question(const ggml_tensor* node) {
  const ggml_tensor* x = node->src[1];
  return node->src[0]->buffer->size == 0 && x->op == GGML_OP_NONE && !(x->flags & GGML_TENSOR_FLAG_INPUT);
}

bool supports_node(ggml_backend_dev_t, const ggml_tensor* node) {
  if (work_of(node) == Work::nothing) return true;
  if (is_product(node) || is_look_up(node)) return !is_question(node) || takes(*node->src[0]);
  return runs_beside_ours(node);
}

bool supports_buffer(ggml_backend_dev_t, ggml_backend_buffer_type_t type) {
  return type == weight_buffer_type(&weight_device()) || ggml_backend_buft_is_host(type);
}

// ---- a running backend ----

Computer& computer_of(ggml_backend_t backend) { return *static_cast<Computer*>(backend->context); }

void free_backend(ggml_backend_t backend) {
  delete &computer_of(backend);
  delete backend;
}

ggml_status compute(ggml_backend_t backend, ggml_cgraph* graph) {
  try {
    return computer_of(backend).run(graph);
  } catch (const std::exception& error) {
    log_line(GGML_LOG_LEVEL_ERROR, error.what());
    return GGML_STATUS_FAILED;
  }
}

ggml_backend_t start_backend(ggml_backend_dev_t, const char*) {
  auto kernels = select_kernels_from_environment();
  if (!kernels) {
    log_line(GGML_LOG_LEVEL_ERROR, kernels.error().what);
    return nullptr;
  }
  static ggml_guid guid = {'d', 'g', 'q', '-', 'w', '4', 'a', '8', '-', 'b', 'a', 'c', 'k', 'e', 'n', 'd'};
  ggml_backend_i functions{};
  functions.get_name = [](ggml_backend_t) { return kName; };
  functions.free = free_backend;
  functions.graph_compute = compute;
  return new ggml_backend{&guid, functions, &compute_device(), new Computer(std::move(*kernels))};
}

void set_threads(ggml_backend_t backend, int threads) { computer_of(backend).set_threads(threads); }

// ---- what the host finds ----

ggml_backend_device make_device(ggml_backend_buffer_type_t (*buffer_type)(ggml_backend_dev_t)) {
  ggml_backend_device device{};
  device.iface.get_name = device_name;
  device.iface.get_description = device_description;
  device.iface.get_memory = device_memory;
  device.iface.get_type = device_type;
  device.iface.get_props = device_properties;
  device.iface.init_backend = start_backend;
  device.iface.get_buffer_type = buffer_type;
  device.iface.supports_op = supports_node;
  device.iface.supports_buft = supports_buffer;
  device.reg = &registration();
  return device;
}

ggml_backend_device& weight_device() {
  static ggml_backend_device device = make_device(weight_buffer_type);
  return device;
}

ggml_backend_device& compute_device() {
  static ggml_backend_device device =
      make_device([](ggml_backend_dev_t) { return ggml_backend_cpu_buffer_type(); });
  return device;
}

// Shown by llama_print_system_info: the kernels that run.
ggml_backend_feature* features(ggml_backend_reg_t) {
  static const std::string isa = [] {
    const auto kernels = select_kernels_from_environment();
    return kernels ? kernels->isa : std::string("none");
  }();
  static ggml_backend_feature list[] = {{isa.c_str(), "1"}, {nullptr, nullptr}};
  return list;
}

// For tests and the curious: tensors that were bound to a linear, products with them, and flash attentions.
void counts(std::uint64_t* weights, std::uint64_t* products, std::uint64_t* attentions) {
  *weights = weights_bound();
  *products = Computer::products();
  *attentions = Computer::attentions();
}

void* find_function(ggml_backend_reg_t, const char* name) {
  const std::string wanted = name;
  if (wanted == "ggml_backend_set_n_threads") return reinterpret_cast<void*>(set_threads);
  if (wanted == "ggml_backend_get_features") return reinterpret_cast<void*>(features);
  if (wanted == "dgq_counts") return reinterpret_cast<void*>(counts);
  return nullptr;
}

ggml_backend_reg& registration() {
  static ggml_backend_reg reg = [] {
    ggml_backend_reg made{};
    made.api_version = GGML_BACKEND_API_VERSION;
    made.iface.get_name = [](ggml_backend_reg_t) { return kName; };
    made.iface.get_device_count = [](ggml_backend_reg_t) { return std::size_t{1}; };
    made.iface.get_device = [](ggml_backend_reg_t, std::size_t) -> ggml_backend_dev_t {
      return &weight_device();
    };
    made.iface.get_proc_address = find_function;
    return made;
  }();
  return reg;
}

}  // namespace
}  // namespace dgq::ggml

extern "C" {
__attribute__((visibility("default"))) int ggml_backend_score() { return dgq::ggml::host_is_known() ? 1 : 0; }
__attribute__((visibility("default"))) ggml_backend_reg_t ggml_backend_init() {
  return dgq::ggml::host_is_known() ? &dgq::ggml::registration() : nullptr;
}
}
