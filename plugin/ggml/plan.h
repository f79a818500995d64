// plugin/ggml/plan.h - the steps in which Computer runs a graph. Where neighbours can be one step, they are: the products of one input
// (q, k and v; gate and up), a product and the sum that it goes into, a norm and its weights, and all of a feed-forward layer with SwiGLU.
// Threads wait for each other once or twice per step, and small models feel it.
#pragma once

#include <span>
#include <vector>

#include "plugin/ggml/weights.h"

namespace dgq::ggml {

// Who computes a node. nothing: a node without numbers of its own; others: the host's CPU backend.
enum class Work {
  nothing,
  products,
  feed_forward,
  put_back,
  look_up,
  row_copy,
  norm,
  float_node,
  rope,
  attention,
  cache_store,
  others
};
Work work_of(const ggml_tensor* node);

// A product of one of our weights, which may not have been filled, with float rows; a look-up of rows.
bool is_product(const ggml_tensor* node);
bool is_look_up(const ggml_tensor* node);

// aside: computed before the host lets its memory be written, so the result waits elsewhere until the step put_back.
struct Product {
  const Weight* weight;
  ggml_tensor* node;
  bool aside;
};

struct Step {
  Work work;
  ggml_tensor* node;  // what it computes; of products, feed_forward and others: the first node
  // norm: the node whose rows are normalised, which is `node` or is multiplied by weights there
  const ggml_tensor* norm;
  // products: of the plan's; feed_forward: the same, gate, up and down; put_back: the number of one in its step; others: nodes of the graph
  int first, last;
  // Of one product, or of down: the ADD that is all that becomes of it, so that it is computed along; null: there is none
  const ggml_tensor* sum = nullptr;
};

class Plan {
 public:
  // Keeps what it has of a graph that the host says is the same. False, after a line in the log: a weight was never filled.
  bool make(ggml_cgraph* graph);

  std::span<const Step> steps() const { return steps_; }
  std::span<const Product> products(const Step& step) const {
    return std::span(products_).subspan(static_cast<std::size_t>(step.first),
                                        static_cast<std::size_t>(step.last - step.first));
  }

 private:
  bool add_products(const ggml_cgraph* graph, int first);
  bool add_feed_forward(const ggml_cgraph* graph, int first);
  const ggml_tensor* add_sum(const ggml_cgraph* graph, int product);

  std::uint64_t uid_ = 0;  // of the graph; 0: it has none
  std::vector<Step> steps_;
  std::vector<Product> products_;
  std::vector<bool> done_;  // nodes that an earlier step computes
  struct Aside {
    int node, number;  // of the graph; of its products' step
  };
  std::vector<Aside> aside_;  // of one step at a time, in ascending order
};

}  // namespace dgq::ggml
