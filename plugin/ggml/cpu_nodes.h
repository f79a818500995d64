// plugin/ggml/cpu_nodes.h - nodes that none of our own code computes (plan.h) but the host's CPU backend can, by a CPU backend of our own.
//
// With the nodes left to the host's own CPU backend, its threads start and stop several times a layer, and where the host gives it
// no thread pool (as libraries on top of llama.cpp do not) they are made anew each time: decoding the demo model with two
// threads was at 180 tokens/s, with one at 2460.
#pragma once

#include "plugin/ggml/host.h"

namespace dgq::ggml {

// Whether the host's CPU backend can compute it. False where the host keeps its CPU backend to itself.
bool cpu_supports(const ggml_tensor* node);

// For one graph at a time.
class CpuNodes {
 public:
  CpuNodes() = default;
  CpuNodes(const CpuNodes&) = delete;
  CpuNodes& operator=(const CpuNodes&) = delete;
  ~CpuNodes();

  // Nodes [begin, end) of the graph, on one thread unless there is enough to do.
  ggml_status run(ggml_cgraph* graph, int begin, int end, int threads);

 private:
  ggml_backend_t alone_ = nullptr, together_ = nullptr;
  ggml_threadpool_t pool_ = nullptr;  // of together_
  int pool_threads_ = 0;
};

}  // namespace dgq::ggml
