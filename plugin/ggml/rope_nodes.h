// plugin/ggml/rope_nodes.h - the rotation of queries and keys, with angles as llama.cpp's CPU backend finds them. They are found once
// for a graph, not for every node of every layer.
#pragma once

#include <memory>
#include <vector>

#include "kernels/table.h"
#include "plugin/ggml/host.h"

namespace dgq::ggml {

// Whether RopeNodes computes the node: ROPE of float32 rows, of neighbours or of halves, from the first element on, without YaRN.
bool is_rope(const ggml_tensor* node);

// Of one backend, for one node at a time.
class RopeNodes {
 public:
  void begin_graph() { used_ = 0; }  // positions are others now
  // Precondition: is_rope(node).
  void run(const ggml_tensor* node, const FloatOps& ops, int threads);

 private:
  struct Angles {
    const ggml_tensor* node;          // the first that wanted them
    std::vector<float> cosine, sine;  // [token][half of what is rotated]
  };
  const Angles& angles_for(const ggml_tensor* node);

  std::vector<Angles> angles_;
  std::size_t used_ = 0;  // of angles_, in this graph
};

}  // namespace dgq::ggml
