#include "plugin/ggml/plan.h"

#include <algorithm>

#include "ggml-impl.h"
#include "plugin/ggml/attention_nodes.h"
#include "plugin/ggml/float_nodes.h"
#include "plugin/ggml/rope_nodes.h"
#include "runtime/linear.h"

namespace dgq::ggml {
namespace {

bool reads_weight(const ggml_tensor* node) {
  const ggml_tensor* weight = node->src[0];
  return weight && node->src[1] && in_weight_buffer(weight) && !weight->view_src && weight->ne[2] == 1 &&
         weight->ne[3] == 1;
}

bool overlap(const ggml_tensor* a, const ggml_tensor* b) {
  const auto *first = static_cast<const char*>(a->data), *second = static_cast<const char*>(b->data);
  return first < second + ggml_nbytes(b) && second < first + ggml_nbytes(a);
}

// Whether node `at` can be computed when node `first` is: the host may have given it memory that what stands between still uses.
bool may_come_forward(const ggml_cgraph* graph, int first, int at) {
  const ggml_tensor* node = graph->nodes[at];
  return std::all_of(graph->nodes + first, graph->nodes + at, [&](const ggml_tensor* other) {
    return work_of(other) == Work::nothing ||
           (!overlap(node, other) &&
            std::none_of(std::begin(other->src), std::end(other->src),
                         [&](const ggml_tensor* x) { return x && overlap(node, x); }));
  });
}

// Whether the node may be written while what it reads as `x` is read element by element.
bool in_place_or_apart(const ggml_tensor* node, const ggml_tensor* x) {
  return node->data == x->data || !overlap(node, x);
}

// The node that multiplies the norm's rows by weights, if that is all that becomes of them.
ggml_tensor* weighted(const ggml_cgraph* graph, int norm) {
  if (!ggml_can_fuse(graph, norm, {GGML_OP_RMS_NORM, GGML_OP_MUL})) return nullptr;
  ggml_tensor *node = graph->nodes[norm + 1], *x = graph->nodes[norm]->src[0];
  const bool fits = work_of(node) == Work::float_node && node->src[0] == graph->nodes[norm] &&
                    ggml_nrows(node->src[1]) == 1;
  return fits && in_place_or_apart(node, x) ? node : nullptr;
}

bool go_together(const Weight& a, const Weight& b) {
  return a.input_scale == b.input_scale && is_quantized(a.linear) == is_quantized(b.linear) &&
         a.version->activation_block() == b.version->activation_block();
}

// Null, after a line in the log: it was never filled.
const Weight* loaded_weight(const ggml_tensor* product) {
  const Weight* weight = weight_of(product->src[0]);
  if (!weight)
    log_line(GGML_LOG_LEVEL_ERROR, "tensor " + std::string(product->src[0]->name) + " was never loaded");
  return weight;
}

// Nodes from `first` on that are gate and up, in any order, SwiGLU and down, and whose numbers nobody else reads but down's.
bool is_feed_forward(const ggml_cgraph* graph, int first) {
  if (!ggml_can_fuse_subgraph(graph, first, {GGML_OP_MUL_MAT, GGML_OP_MUL_MAT, GGML_OP_GLU, GGML_OP_MUL_MAT},
                              {first + 3}))
    return false;
  ggml_tensor* const* node = graph->nodes + first;
  const ggml_tensor *glu = node[2], *down = node[3];
  return is_product(node[1]) && is_product(down) && work_of(glu) == Work::float_node &&
         node[0]->src[1] == node[1]->src[1] && down->src[1] == glu &&
         ((glu->src[0] == node[0] && glu->src[1] == node[1]) ||
          (glu->src[0] == node[1] && glu->src[1] == node[0]));
}

// Nodes further on that are looked at for another product of the same input.
constexpr int kLookAhead = 16;

}  // namespace

bool is_product(const ggml_tensor* node) {
  return node->op == GGML_OP_MUL_MAT && reads_weight(node) && node->type == GGML_TYPE_F32 &&
         node->src[1]->type == GGML_TYPE_F32 && node->src[1]->nb[0] == sizeof(float);
}

bool is_look_up(const ggml_tensor* node) {
  return node->op == GGML_OP_GET_ROWS && reads_weight(node) && node->type == GGML_TYPE_F32 &&
         node->src[1]->type == GGML_TYPE_I32;
}

Work work_of(const ggml_tensor* node) {
  if (ggml_is_empty(node)) return Work::nothing;
  switch (node->op) {
    case GGML_OP_NONE:
    case GGML_OP_RESHAPE:
    case GGML_OP_VIEW:
    case GGML_OP_PERMUTE:
    case GGML_OP_TRANSPOSE:
      return Work::nothing;
    case GGML_OP_MUL_MAT:
      return is_product(node) ? Work::products : Work::others;
    case GGML_OP_GET_ROWS:
      return is_look_up(node) ? Work::look_up : is_row_copy(node) ? Work::row_copy : Work::others;
    case GGML_OP_RMS_NORM:
      return is_float_node(node) ? Work::norm : Work::others;
    case GGML_OP_ADD:
    case GGML_OP_MUL:
    case GGML_OP_GLU:
      return is_float_node(node) ? Work::float_node : Work::others;
    case GGML_OP_ROPE:
      return is_rope(node) ? Work::rope : Work::others;
    case GGML_OP_FLASH_ATTN_EXT:
      return is_attention(node) ? Work::attention : Work::others;
    case GGML_OP_SET_ROWS:
      return is_cache_store(node) ? Work::cache_store : Work::others;
    default:
      return Work::others;
  }
}

bool Plan::make(ggml_cgraph* graph) {
  if (graph->uid != 0 && graph->uid == uid_) return true;
  uid_ = 0;
  steps_.clear(), products_.clear(), aside_.clear();
  done_.assign(static_cast<std::size_t>(graph->n_nodes), false);
  for (int i = 0; i < graph->n_nodes; ++i) {
    ggml_tensor* node = graph->nodes[i];
    if (!aside_.empty() && aside_.front().node == i) {
      const int number = aside_.front().number;
      steps_.push_back({Work::put_back, node, nullptr, number, number + 1});
      aside_.erase(aside_.begin());
      continue;
    }
    const Work work = work_of(node);
    if (work == Work::nothing || done_[static_cast<std::size_t>(i)] ||
        !(node->flags & GGML_TENSOR_FLAG_COMPUTE))
      continue;
    if (work == Work::products) {
      if (!add_feed_forward(graph, i) && !add_products(graph, i)) return false;
    } else if (work == Work::norm) {
      ggml_tensor* product = weighted(graph, i);
      steps_.push_back({work, product ? product : node, node, i, i + 1});
      if (product) done_[static_cast<std::size_t>(i) + 1] = true;
    } else if (work == Work::others) {
      const int first = i++;
      while (i < graph->n_nodes &&
             (work_of(graph->nodes[i]) == Work::others || work_of(graph->nodes[i]) == Work::nothing))
        ++i;
      steps_.push_back({work, node, nullptr, first, i--});
    } else {
      steps_.push_back({work, node, nullptr, i, i + 1});
    }
  }
  uid_ = graph->uid;
  return true;
}

// The sum that the product goes into and that may be computed with it, a part of the rows at a time.
const ggml_tensor* Plan::add_sum(const ggml_cgraph* graph, int product) {
  if (!ggml_can_fuse(graph, product, {GGML_OP_MUL_MAT, GGML_OP_ADD})) return nullptr;
  const ggml_tensor *node = graph->nodes[product], *sum = graph->nodes[product + 1];
  const ggml_tensor* other = sum->src[0] == node ? sum->src[1] : sum->src[0];
  const Weight& weight = *products_.back().weight;
  const bool fits = work_of(sum) == Work::float_node && ggml_are_same_shape(other, sum) &&
                    in_place_or_apart(sum, node) && in_place_or_apart(sum, other);
  // Floats of the input are read until the last row is there.
  if (!fits || weight.rotary != 0 || (!is_quantized(weight.linear) && overlap(sum, node->src[1])))
    return nullptr;
  done_[static_cast<std::size_t>(product) + 1] = true;
  return sum;
}

// False: it is none that can be computed so.
bool Plan::add_feed_forward(const ggml_cgraph* graph, int first) {
  if (!is_feed_forward(graph, first)) return false;
  const bool swapped = graph->nodes[first + 2]->src[0] != graph->nodes[first];
  ggml_tensor *gate = graph->nodes[first + swapped], *up = graph->nodes[first + !swapped],
              *down = graph->nodes[first + 3];
  const Weight *of_gate = weight_of(gate->src[0]), *of_up = weight_of(up->src[0]),
               *of_down = weight_of(down->src[0]);
  if (!of_gate || !of_up || !of_down || !go_together(*of_gate, *of_up) || of_gate->rotary != 0 ||
      of_up->rotary != 0 || of_down->rotary != 0)
    return false;
  if (!is_quantized(of_down->linear) || of_down->version->activation_block() != kActBlock ||
      of_down->input_scale != 0)
    return false;
  const auto begin = static_cast<int>(products_.size());
  products_.insert(products_.end(), {{of_gate, gate, false}, {of_up, up, false}, {of_down, down, false}});
  std::fill_n(done_.begin() + first, 4, true);
  const ggml_tensor* sum = add_sum(graph, first + 3);
  steps_.push_back({Work::feed_forward, graph->nodes[first], nullptr, begin, begin + 3, sum});
  return true;
}

bool Plan::add_products(const ggml_cgraph* graph, int first) {
  const auto begin = static_cast<int>(products_.size());
  const bool is_free = aside_.empty();
  for (int i = first; i < std::min(graph->n_nodes, first + kLookAhead); ++i) {
    ggml_tensor* node = graph->nodes[i];
    if (!is_product(node) || node->src[1] != graph->nodes[first]->src[1] ||
        done_[static_cast<std::size_t>(i)])
      continue;
    const Weight* weight = loaded_weight(node);
    if (!weight) return false;
    const bool aside = i > first && !may_come_forward(graph, first, i);
    if (i > first && !(go_together(*weight, *products_[static_cast<std::size_t>(begin)].weight) &&
                       (node->flags & GGML_TENSOR_FLAG_COMPUTE) && (is_free || !aside)))
      continue;
    if (aside) aside_.push_back({i, static_cast<int>(products_.size()) - begin});
    products_.push_back({weight, node, aside});
    done_[static_cast<std::size_t>(i)] = true;
  }
  const auto end = static_cast<int>(products_.size());
  const ggml_tensor* sum = end - begin == 1 ? add_sum(graph, first) : nullptr;
  steps_.push_back({Work::products, graph->nodes[first], nullptr, begin, end, sum});
  return true;
}

}  // namespace dgq::ggml
