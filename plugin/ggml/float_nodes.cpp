#include "plugin/ggml/float_nodes.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "plugin/ggml/weights.h"
#include "runtime/parallel.h"

namespace dgq::ggml {
namespace {

bool is_dense(const ggml_tensor* x) { return x && x->type == GGML_TYPE_F32 && ggml_is_contiguous(x); }

// A row that is the same for all.
bool is_row_of(const ggml_tensor* x, const ggml_tensor* node) {
  return x->ne[0] == node->ne[0] && ggml_nrows(x) == 1;
}

}  // namespace

int team_for(std::size_t rows, std::size_t width, int threads) {
  constexpr std::size_t kFloatsPerThread = 8192;
  return static_cast<int>(
      std::min<std::size_t>(static_cast<std::size_t>(threads), rows / (kFloatsPerThread / width + 1)));
}

bool is_float_node(const ggml_tensor* node) {
  const ggml_tensor *x = node->src[0], *y = node->src[1];
  if (!is_dense(node) || !is_dense(x) || !ggml_are_same_shape(x, node) || in_weight_buffer(x)) return false;
  if (node->op == GGML_OP_RMS_NORM) return true;
  if (!is_dense(y) || in_weight_buffer(y)) return false;
  if (node->op == GGML_OP_GLU)
    return ggml_get_glu_op(node) == GGML_GLU_OP_SWIGLU && ggml_are_same_shape(y, node);
  return (node->op == GGML_OP_ADD || node->op == GGML_OP_MUL) &&
         (ggml_are_same_shape(y, node) || is_row_of(y, node));
}

void run_float_node(ggml_tensor* node, const FloatOps& ops, int threads) {
  const auto width = static_cast<std::size_t>(node->ne[0]), rows = static_cast<std::size_t>(ggml_nrows(node));
  const auto* from = static_cast<const float*>(node->src[0]->data);
  const auto* other = node->src[1] ? static_cast<const float*>(node->src[1]->data) : nullptr;
  auto* to = static_cast<float*>(node->data);
  const std::size_t other_step = other && ggml_nrows(node->src[1]) == ggml_nrows(node) ? width : 0;
  parallel_ranges(team_for(rows, width, threads), rows, [&](std::size_t begin, std::size_t end, int) {
    thread_local std::vector<float> scratch;
    for (std::size_t row = begin; row < end; ++row) {
      float* y = to + row * width;
      const float* x = from + row * width;
      // The host may have given the node the memory of either input.
      const float* with = other + row * other_step;
      float* at = y;
      if (y == with) scratch.resize(width), at = scratch.data();
      if (at != x) std::memcpy(at, x, width * sizeof(float));
      if (node->op == GGML_OP_ADD) ops.add(at, with, width);
      if (node->op == GGML_OP_MUL) ops.multiply(at, with, width);
      if (node->op == GGML_OP_GLU) ops.swiglu(at, with, width);
      if (at != y) std::memcpy(y, at, width * sizeof(float));
    }
  });
}

void run_norm(const ggml_tensor* norm, ggml_tensor* out, const FloatOps& ops, int threads) {
  const auto width = static_cast<std::size_t>(norm->ne[0]), rows = static_cast<std::size_t>(ggml_nrows(norm));
  const std::vector<float> ones(out == norm ? width : 0, 1.0f);
  const auto* weights = out == norm ? ones.data() : static_cast<const float*>(out->src[1]->data);
  const auto* from = static_cast<const float*>(norm->src[0]->data);
  auto* to = static_cast<float*>(out->data);
  float eps;
  std::memcpy(&eps, norm->op_params, sizeof eps);
  parallel_ranges(team_for(rows, width, threads), rows, [&](std::size_t begin, std::size_t end, int) {
    for (std::size_t row = begin; row < end; ++row)
      ops.rms_norm(from + row * width, weights, width, eps, to + row * width);
  });
}

bool is_row_copy(const ggml_tensor* node) {
  const ggml_tensor *from = node->src[0], *ids = node->src[1];
  return node->op == GGML_OP_GET_ROWS && from->type == GGML_TYPE_F32 && from->nb[0] == sizeof(float) &&
         !in_weight_buffer(from) && from->ne[2] == 1 && from->ne[3] == 1 && node->type == GGML_TYPE_F32 &&
         ggml_is_contiguous(node) && ids->type == GGML_TYPE_I32 && ggml_is_contiguous(ids);
}

bool run_row_copy(ggml_tensor* node) {
  const ggml_tensor* from = node->src[0];
  const auto* ids = static_cast<const std::int32_t*>(node->src[1]->data);
  for (std::int64_t i = 0; i < node->ne[1]; ++i) {
    if (ids[i] < 0 || ids[i] >= from->ne[1]) return false;
    std::memcpy(static_cast<char*>(node->data) + static_cast<std::size_t>(i) * node->nb[1],
                static_cast<const char*>(from->data) + static_cast<std::size_t>(ids[i]) * from->nb[1],
                node->nb[1]);
  }
  return true;
}

}  // namespace dgq::ggml
