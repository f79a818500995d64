// plugin/ggml/float_nodes.h - what stands between our products in a layer: RMSNorm, sums, products, SwiGLU and copies of float32 rows.
//
// llama.cpp's CPU backend could do it as well. But every change from one backend to the other stops and starts its threads,
// ten times a layer, and its SwiGLU asks libm for each e^x.
#pragma once

#include "kernels/table.h"
#include "plugin/ggml/host.h"

namespace dgq::ggml {

// How many threads should share this many rows of floats: waking another one costs as much as a few thousand floats.
int team_for(std::size_t rows, std::size_t width, int threads);

// Whether run_norm() or run_float_node() can compute the node: float32, rows dense, and one of its inputs, if it has two, of the node's shape or
// one row.
bool is_float_node(const ggml_tensor* node);

// Precondition: is_float_node(node); it is no norm.
void run_float_node(ggml_tensor* node, const FloatOps& ops, int threads);

// Precondition: is_float_node(norm), of RMS_NORM. Writes to `out`, which is the norm itself or multiplies its rows by src[1], one row.
void run_norm(const ggml_tensor* norm, ggml_tensor* out, const FloatOps& ops, int threads);

// GET_ROWS of a float32 matrix.
bool is_row_copy(const ggml_tensor* node);
// False: there is no such row. Precondition: is_row_copy(node).
bool run_row_copy(ggml_tensor* node);

}  // namespace dgq::ggml
