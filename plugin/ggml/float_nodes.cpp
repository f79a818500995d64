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

// Rows that each thread should have at least: waking another one costs as much as a few thousand floats.
constexpr std::size_t kFloatsPerThread = 8192;

}  // namespace

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
  float eps;
  std::memcpy(&eps, node->op_params, sizeof eps);

  const std::vector<float> ones(node->op == GGML_OP_RMS_NORM ? width : 0, 1.0f);
  const std::size_t least = kFloatsPerThread / width + 1;
  const auto team = static_cast<int>(std::min<std::size_t>(static_cast<std::size_t>(threads), rows / least));
  parallel_ranges(team, rows, [&](std::size_t begin, std::size_t end, int) {
    thread_local std::vector<float> scratch;
    for (std::size_t row = begin; row < end; ++row) {
      float* y = to + row * width;
      const float* x = from + row * width;
      if (node->op == GGML_OP_RMS_NORM) {
        ops.rms_norm(x, ones.data(), width, eps, y);
        continue;
      }
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

}  // namespace dgq::ggml
