// plugin/ggml/weights.h - the buffer type of weights that are in a registry. Its buffers are address space that nobody can read; each
// tensor in them stands for a linear of a mapped version.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "plugin/ggml/host.h"
#include "runtime/stored_linears.h"

namespace dgq::ggml {

// A tensor of a file: the linear that it stands for, without the bias, which llama.cpp adds itself.
struct Weight {
  std::shared_ptr<const StoredLinears> version;  // keeps it mapped
  Linear linear;
  float input_scale;   // 0: found for every row and block
  std::size_t rotary;  // see runtime/carrier.h
};

ggml_backend_buffer_type_t weight_buffer_type(ggml_backend_dev_t device);
bool in_weight_buffer(const ggml_tensor* tensor);
// Null: the tensor was never filled.
const Weight* weight_of(const ggml_tensor* tensor);

bool any_weights();  // of models that are loaded now

// Tensors that were bound to a linear so far, in this process.
std::uint64_t weights_bound();

}  // namespace dgq::ggml
