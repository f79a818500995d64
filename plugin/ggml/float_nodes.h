// plugin/ggml/float_nodes.h - what stands between our products in a layer: RMSNorm, sums, products and SwiGLU of float32 rows.
//
// llama.cpp's CPU backend could do it as well. But every change from one backend to the other stops and starts its threads,
// ten times a layer, and its SwiGLU asks libm for each e^x.
#pragma once

#include "kernels/table.h"
#include "plugin/ggml/host.h"

namespace dgq::ggml {

// Whether run_float_node() can compute the node: float32, rows dense, and one of its inputs, if it has two, of the node's shape or
// one row.
bool is_float_node(const ggml_tensor* node);

// Precondition: is_float_node(node).
void run_float_node(ggml_tensor* node, const FloatOps& ops, int threads);

}  // namespace dgq::ggml
