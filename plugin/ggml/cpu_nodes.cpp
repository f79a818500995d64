#include "plugin/ggml/cpu_nodes.h"

#include <dlfcn.h>
#include <link.h>

#include <string_view>
#include <type_traits>

#include "ggml-cpu.h"
#include "ggml-impl.h"

namespace dgq::ggml {
namespace {

using FindDevice = decltype(&ggml_backend_dev_by_type);

// The host's register of backends is in a library that we are not linked with, and that its host may have loaded for itself only.
FindDevice find_device() {
  constexpr const char* kName = "ggml_backend_dev_by_type";
  if (void* found = ::dlsym(RTLD_DEFAULT, kName)) return reinterpret_cast<FindDevice>(found);
  void* found = nullptr;
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* result) {
        const std::string_view path = info->dlpi_name;
        if (path.substr(path.rfind('/') + 1).starts_with("libggml"))
          if (void* library = ::dlopen(info->dlpi_name, RTLD_LAZY | RTLD_NOLOAD)) {
            *static_cast<void**>(result) = ::dlsym(library, kName);
            ::dlclose(library);  // stays: the host has it
          }
        return *static_cast<void**>(result) ? 1 : 0;
      },
      &found);
  return reinterpret_cast<FindDevice>(found);
}

ggml_backend_dev_t cpu_device() {
  static const FindDevice find = find_device();
  return find ? find(GGML_BACKEND_DEVICE_TYPE_CPU) : nullptr;
}

// The CPU backend's functions that its registration names.
template <class Function>
Function* cpu_function(const char* name) {
  return reinterpret_cast<Function*>(
      ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(cpu_device()), name));
}

void set_threads(ggml_backend_t backend, int threads) {
  cpu_function<std::remove_pointer_t<ggml_backend_set_n_threads_t>>("ggml_backend_set_n_threads")(backend,
                                                                                                  threads);
}

// Multiplications or so.
double work(const ggml_tensor* node) {
  const auto elements = static_cast<double>(ggml_nelements(node));
  switch (node->op) {
    case GGML_OP_MUL_MAT:
    case GGML_OP_MUL_MAT_ID:
      return elements * static_cast<double>(node->src[0]->ne[0]);
    case GGML_OP_FLASH_ATTN_EXT:
      return 2 * elements * static_cast<double>(node->src[1]->ne[1]);
    default:
      return elements;
  }
}

constexpr double kWorkForThreads = 1e6;  // waking them takes as long as 100 000 multiplications

}  // namespace

bool cpu_supports(const ggml_tensor* node) {
  ggml_backend_dev_t device = cpu_device();
  return device && ggml_backend_dev_supports_op(device, node);
}

CpuNodes::~CpuNodes() {
  for (ggml_backend_t backend : {alone_, together_})
    if (backend) ggml_backend_free(backend);
  if (pool_) cpu_function<decltype(ggml_threadpool_free)>("ggml_threadpool_free")(pool_);
}

ggml_status CpuNodes::run(ggml_cgraph* graph, int begin, int end, int threads) {
  double total = 0;
  for (int i = begin; i < end; ++i) total += work(ggml_graph_node(graph, i));
  const bool is_alone = threads == 1 || total < kWorkForThreads;
  ggml_backend_t& backend = is_alone ? alone_ : together_;
  if (!backend) {
    backend = cpu_device() ? ggml_backend_dev_init(cpu_device(), nullptr) : nullptr;
    if (!backend) {
      log_line(GGML_LOG_LEVEL_ERROR, "the host's CPU backend does not start");
      return GGML_STATUS_FAILED;
    }
    set_threads(backend, 1);
  }
  if (!is_alone && pool_threads_ != threads) {
    ggml_threadpool_params params = ggml_threadpool_params_default(threads);
    params.poll = 0;  // they sleep while we compute
    ggml_threadpool_t made = cpu_function<decltype(ggml_threadpool_new)>("ggml_threadpool_new")(&params);
    if (!made) return GGML_STATUS_ALLOC_FAILED;
    cpu_function<decltype(ggml_backend_cpu_set_threadpool)>("ggml_backend_cpu_set_threadpool")(backend, made);
    set_threads(backend, threads);
    if (pool_) cpu_function<decltype(ggml_threadpool_free)>("ggml_threadpool_free")(pool_);
    pool_ = made, pool_threads_ = threads;
  }
  ggml_cgraph part = ggml_graph_view(graph, begin, end);
  return ggml_backend_graph_compute(backend, &part);
}

}  // namespace dgq::ggml
