#include "plugin/ggml/rope_nodes.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "plugin/ggml/float_nodes.h"
#include "plugin/ggml/weights.h"
#include "runtime/parallel.h"

namespace dgq::ggml {
namespace {

struct Rope {
  explicit Rope(const ggml_tensor* node)
      : dims(node->op_params[1]), mode(node->op_params[2]), first(node->op_params[15]) {
    std::memcpy(&base, node->op_params + 5, sizeof base);
    std::memcpy(&scale, node->op_params + 6, sizeof scale);
    std::memcpy(&yarn, node->op_params + 7, sizeof yarn);
    std::memcpy(&magnitude, node->op_params + 8, sizeof magnitude);
  }
  std::int32_t dims, mode, first;
  float base, scale, yarn, magnitude;
};

}  // namespace

bool is_rope(const ggml_tensor* node) {
  const ggml_tensor *x = node->src[0], *positions = node->src[1], *factors = node->src[2];
  if (node->op != GGML_OP_ROPE || x->type != GGML_TYPE_F32 || node->type != GGML_TYPE_F32 ||
      in_weight_buffer(x))
    return false;
  if (x->nb[0] != sizeof(float) || node->nb[0] != sizeof(float) || x->ne[3] != 1) return false;
  if (positions->type != GGML_TYPE_I32 || !ggml_is_contiguous(positions) || positions->ne[0] < x->ne[2])
    return false;
  const Rope rope(node);
  if (factors &&
      (factors->type != GGML_TYPE_F32 || factors->ne[0] < rope.dims / 2 || in_weight_buffer(factors)))
    return false;
  return (rope.mode == GGML_ROPE_TYPE_NORMAL || rope.mode == GGML_ROPE_TYPE_NEOX) && rope.yarn == 0 &&
         rope.first == 0 && rope.dims > 0 && rope.dims % 2 == 0 && rope.dims <= x->ne[0];
}

const RopeNodes::Angles& RopeNodes::angles_for(const ggml_tensor* node) {
  for (std::size_t i = 0; i < used_; ++i) {
    const ggml_tensor* other = angles_[i].node;
    if (other->src[1] == node->src[1] && other->src[2] == node->src[2] &&
        std::memcmp(other->op_params, node->op_params, sizeof node->op_params) == 0)
      return angles_[i];
  }
  if (used_ == angles_.size()) angles_.emplace_back();
  Angles& found = angles_[used_++];
  const Rope rope(node);
  const auto half = static_cast<std::size_t>(rope.dims / 2), tokens = static_cast<std::size_t>(node->ne[2]);
  const auto* positions = static_cast<const std::int32_t*>(node->src[1]->data);
  const auto* factors = node->src[2] ? static_cast<const float*>(node->src[2]->data) : nullptr;
  const float step = std::pow(rope.base, -2.0f / static_cast<float>(rope.dims));
  found.node = node;
  found.cosine.resize(tokens * half), found.sine.resize(tokens * half);
  for (std::size_t token = 0; token < tokens; ++token) {
    auto theta = static_cast<float>(positions[token]);
    for (std::size_t i = 0; i < half; ++i, theta *= step) {
      const float angle = rope.scale * (theta / (factors ? factors[i] : 1.0f));
      found.cosine[token * half + i] = std::cos(angle) * rope.magnitude;
      found.sine[token * half + i] = std::sin(angle) * rope.magnitude;
    }
  }
  return found;
}

void RopeNodes::run(const ggml_tensor* node, const FloatOps& ops, int threads) {
  const Angles& angles = angles_for(node);
  const Rope rope(node);
  const ggml_tensor* x = node->src[0];
  const auto dims = static_cast<std::size_t>(rope.dims), width = static_cast<std::size_t>(x->ne[0]),
             heads = static_cast<std::size_t>(x->ne[1]), rows = heads * static_cast<std::size_t>(x->ne[2]);
  const auto rotate = rope.mode == GGML_ROPE_TYPE_NEOX ? ops.rotate : ops.rotate_pairs;
  parallel_ranges(team_for(rows, width, threads), rows, [&](std::size_t begin, std::size_t end, int) {
    for (std::size_t row = begin; row < end; ++row) {
      const std::size_t head = row % heads, token = row / heads;
      const auto* from = reinterpret_cast<const float*>(static_cast<const char*>(x->data) + head * x->nb[1] +
                                                        token * x->nb[2]);
      auto* to =
          reinterpret_cast<float*>(static_cast<char*>(node->data) + head * node->nb[1] + token * node->nb[2]);
      if (to != from)
        std::memcpy(to, from,
                    width * sizeof(float));  // the host may have given the node the memory of its input
      rotate(to, angles.cosine.data() + token * (dims / 2), angles.sine.data() + token * (dims / 2), dims);
    }
  });
}

}  // namespace dgq::ggml
