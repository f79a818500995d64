// plugin/linear_api.cpp - dgq.h: linears by name, and their product with any rows.
#include <cstdio>

#include "plugin/objects.h"
#include "runtime/parallel.h"

using namespace dgq;
using namespace dgq::plugin;

namespace {

const NamedLinear& linear_at(const ModelObject& model, std::size_t index) {
  if (index >= model.linears.size())
    refuse(DGQ_INVALID, "linear " + std::to_string(index) + " of " + std::to_string(model.linears.size()));
  return model.linears[index];
}

struct Describe {
  dgq_linear_info& info;
  void set(std::size_t rows, std::size_t columns, dgq_weights weights, std::size_t group) const {
    info.rows = rows, info.columns = columns, info.weights = weights;
    info.group = static_cast<std::uint32_t>(group);
  }
  void operator()(const F32Matrix& w) const { set(w.n, w.k, DGQ_F32, 0); }
  void operator()(const W4Matrix& w) const { set(w.n, w.k, DGQ_W4, w.group); }
  void operator()(const W6Matrix& w) const { set(w.n, w.k, DGQ_W6, w.group); }
  void operator()(const W8Matrix& w) const { set(w.n, w.k, DGQ_W8, 0); }
};

}  // namespace

dgq_status dgq_linear_count(dgq_model* model, size_t* count) {
  return call([&] { *not_null(count, "count") = object_of(models(), model)->linears.size(); });
}

dgq_status dgq_linear_get_info(dgq_model* model, size_t index, dgq_linear_info* info) {
  return call([&] {
    const auto object = object_of(models(), model);
    const NamedLinear& linear = linear_at(*object, index);
    sized(info, "info");
    std::snprintf(info->name, sizeof(info->name), "%s", linear.name.c_str());
    std::visit(Describe{*info}, *linear.linear);
  });
}

dgq_status dgq_linear_find(dgq_model* model, const char* name, size_t* index) {
  return call([&] {
    const auto object = object_of(models(), model);
    not_null(name, "name"), not_null(index, "index");
    for (std::size_t i = 0; i < object->linears.size(); ++i)
      if (object->linears[i].name == name) return void(*index = i);
    refuse(DGQ_NOT_FOUND, "the model has no linear \"" + std::string(name) + "\"");
  });
}

dgq_status dgq_linear_matmul(dgq_model* model, size_t index, const float* x, size_t m, float* y) {
  return call([&] {
    const auto object = object_of(models(), model);
    const NamedLinear& named = linear_at(*object, index);
    const Linear& linear = *named.linear;
    const std::size_t n = output_rows(linear), k = std::visit([](const auto&w) { return w.k; }, linear);
    if (m == 0 || m > PTRDIFF_MAX / sizeof(float) / std::max(n, k))
      refuse(DGQ_INVALID, "m is " + std::to_string(m));
    not_null(x, "x"), not_null(y, "y");
    // Of the calling thread, since calls run side by side; kept, since decoding makes many small ones.
    thread_local QuantizedBuffer blocks(kActBlock), rows(0);
    QuantizedBuffer& buffer = object->model.activation_block() == kActBlock ? blocks : rows;
    const LinearInput in = is_quantized(linear) ? quantize_input(x, m, k, *object->kernels.quantize_rows,
                                                                 buffer, object->threads, named.input_scale)
                                                : LinearInput{x, m, k, {}};
    parallel_ranges(object->threads, output_blocks(linear), [&](std::size_t begin, std::size_t end, int) {
      run_blocks(linear, in, object->kernels, begin, end, y + begin * kRowBlock, n);
    });
  });
}
