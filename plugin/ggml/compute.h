// plugin/ggml/compute.h - the nodes of a ggml graph that read our weights.
#pragma once

#include <cstdint>

#include "kernels/table.h"
#include "plugin/ggml/cpu_nodes.h"
#include "plugin/ggml/weights.h"
#include "runtime/linear.h"

namespace dgq::ggml {

// Whether a node reads one of our weights in a way that Computer handles: a product with float rows, or a look-up of rows.
bool handles(const ggml_tensor* node);

// Whether Computer runs it, since a model with our weights is loaded: all that the CPU can, so that the host's threads do not take turns with
// ours several times a layer.
bool runs_beside_ours(const ggml_tensor* node);

// A node without numbers of its own.
bool is_view(const ggml_tensor* node);

// Of one backend of the host, for one graph at a time.
class Computer {
 public:
  explicit Computer(Kernels kernels);
  Computer(const Computer&) = delete;
  Computer& operator=(const Computer&) = delete;
  ~Computer();
  void set_threads(int threads) { threads_ = threads; }
  // All nodes in their order. GGML_STATUS_FAILED, after a line in the log: a weight
  // that was never filled, a token outside the vocabulary, no memory.
  ggml_status run(ggml_cgraph* graph);

  static std::uint64_t products();  // matrix products of all computers so far

 private:
  void has_started();
  bool run_ours(ggml_tensor* node);
  void multiply(const Weight& weight, const ggml_tensor* x, ggml_tensor* y);
  bool look_up(const Weight& weight, const ggml_tensor* rows, ggml_tensor* y) const;
  const LinearInput& prepare(const Weight& weight, const ggml_tensor* x);

  Kernels kernels_;
  bool starts_ = true;
  CpuNodes others_;
  int threads_ = 1;
  QuantizedBuffer blocks_{kActBlock}, rows_{0};
  AlignedBuffer<float> dense_;
  // Of the last product: q, k and v share their input, gate and up theirs.
  const ggml_tensor* last_x_ = nullptr;
  float last_scale_ = 0;
  bool last_quantized_ = false;
  LinearInput input_{};
};

}  // namespace dgq::ggml
