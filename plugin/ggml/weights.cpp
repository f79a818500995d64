#include "plugin/ggml/weights.h"

#include <sys/mman.h>

#include <atomic>
#include <stdexcept>
#include <unordered_map>

#include "plugin/ggml/carried.h"
#include "plugin/ggml/versions.h"

namespace dgq::ggml {
namespace {

std::atomic<std::uint64_t> bound{0}, there{0};

// Filled while the host loads the model, only read from then on.
struct WeightBuffer {
  void* base;
  std::size_t size;
  std::unordered_map<const void*, Weight> weights;  // by the tensor's address
};

WeightBuffer& of(ggml_backend_buffer_t buffer) { return *static_cast<WeightBuffer*>(buffer->context); }

Linear without_bias(Linear linear) {
  std::visit([](auto& w) { w.bias = nullptr; }, linear);
  return linear;
}

Result<Weight> bind(const ggml_tensor& tensor, std::span<const std::byte> data) {
  const std::string where = "tensor " + std::string(tensor.name);
  DGQ_TRY(const Carrier carrier, read_carrier(tensor.type, data, where));
  DGQ_TRY(std::shared_ptr<const StoredLinears> version, open_version(carrier.version));
  DGQ_TRY(const CarriedLinear found, version->find(carrier, where));
  const auto k = static_cast<std::uint64_t>(tensor.ne[0]), n = static_cast<std::uint64_t>(tensor.ne[1]);
  const bool fits = std::visit([&](const auto& w) { return w.k == k && w.n == n; }, found.linear);
  const bool pairs = carrier.rotary == 0 || (carrier.rotary % 2 == 0 && n % carrier.rotary == 0);
  if (!fits || !pairs)
    return Error{Errc::corrupt, where + ": has another shape than the linear of version " +
                                    carrier.version.short_hex() + "; export the file again"};
  return Weight{std::move(version), without_bias(found.linear), found.input_scale, carrier.rotary};
}

void free_buffer(ggml_backend_buffer_t buffer) {
  there.fetch_sub(of(buffer).weights.size(), std::memory_order_relaxed);
  ::munmap(of(buffer).base, of(buffer).size);
  delete &of(buffer);
}

void* get_base(ggml_backend_buffer_t buffer) { return of(buffer).base; }

// What a file has in place of the weight. llama.cpp's loader has no other way to learn that this failed than an exception, which it
// turns into an error of the load (and a line in its log); without it the host would start to serve a model that it does not have.
void set_tensor(ggml_backend_buffer_t buffer, ggml_tensor* tensor, const void* data, std::size_t offset,
                std::size_t size) {
  if (offset != 0) return;  // the name of the version stands at the beginning
  auto weight = bind(*tensor, {static_cast<const std::byte*>(data), size});
  if (!weight) throw std::runtime_error("dgq: " + weight.error().what);
  if (of(buffer).weights.insert_or_assign(tensor->data, std::move(*weight)).second)
    there.fetch_add(1, std::memory_order_relaxed);
  bound.fetch_add(1, std::memory_order_relaxed);
}

void get_tensor(ggml_backend_buffer_t, const ggml_tensor* tensor, void*, std::size_t, std::size_t) {
  throw std::runtime_error("dgq: tensor " + std::string(tensor->name) +
                           " is in a registry; `dgq unpack` writes its weights");
}

void memset_tensor(ggml_backend_buffer_t, ggml_tensor*, std::uint8_t, std::size_t, std::size_t) {}
void clear(ggml_backend_buffer_t, std::uint8_t) {}

ggml_backend_buffer_t alloc_buffer(ggml_backend_buffer_type_t type, std::size_t size) {
  void* base = ::mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return nullptr;
  ggml_backend_buffer_i functions{};
  functions.free_buffer = free_buffer;
  functions.get_base = get_base;
  functions.memset_tensor = memset_tensor;
  functions.set_tensor = set_tensor;
  functions.get_tensor = get_tensor;
  functions.clear = clear;
  return ggml_backend_buffer_init(type, functions, new WeightBuffer{base, size, {}}, size);
}

const char* type_name(ggml_backend_buffer_type_t) { return "DGQ"; }
std::size_t alignment(ggml_backend_buffer_type_t) { return 64; }

}  // namespace

ggml_backend_buffer_type_t weight_buffer_type(ggml_backend_dev_t device) {
  static ggml_backend_buffer_type type = [&] {
    ggml_backend_buffer_type made{};
    made.iface.get_name = type_name;
    made.iface.alloc_buffer = alloc_buffer;
    made.iface.get_alignment = alignment;
    made.device = device;
    return made;
  }();
  return &type;
}

bool in_weight_buffer(const ggml_tensor* tensor) {
  return tensor->buffer && tensor->buffer->buft->iface.alloc_buffer == alloc_buffer;
}

const Weight* weight_of(const ggml_tensor* tensor) {
  const auto& weights = of(tensor->buffer).weights;
  const auto found = weights.find(tensor->data);
  return found == weights.end() ? nullptr : &found->second;
}

bool any_weights() { return there.load(std::memory_order_relaxed) > 0; }
std::uint64_t weights_bound() { return bound.load(std::memory_order_relaxed); }

}  // namespace dgq::ggml
