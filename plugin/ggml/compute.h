// plugin/ggml/compute.h - runs the graphs of a host's context.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/table.h"
#include "plugin/ggml/attention_nodes.h"
#include "plugin/ggml/cpu_nodes.h"
#include "plugin/ggml/plan.h"
#include "plugin/ggml/rope_nodes.h"
#include "runtime/linear.h"
#include "runtime/swiglu.h"

namespace dgq::ggml {

// Whether Computer runs a node that reads none of our weights, since a model with our weights is loaded: all that the CPU can, so that the
// host's threads do not take turns with ours several times a layer.
bool runs_beside_ours(const ggml_tensor* node);

// A new context of llama.cpp asks, with a graph of one token for each sequence, where flash attention would run, and does without if that
// is another backend than the layer's, the CPU; its cache of values is laid out for flash attention all the same, and attention
// takes twice as long. So flash attention is the CPU's until this thread asks for a graph of another size, or a graph runs.
struct FirstQuestion {
  std::atomic<bool> is_over = false;
  std::int64_t tokens = 0;  // of its graph; 0: not asked yet
};

// Of one backend of the host, for one graph at a time.
class Computer {
 public:
  explicit Computer(Kernels kernels);
  Computer(const Computer&) = delete;
  Computer& operator=(const Computer&) = delete;
  void set_threads(int threads) { threads_ = threads; }
  // All nodes. GGML_STATUS_FAILED, after a line in the log: a weight that was never filled, a row outside its tensor, no memory.
  ggml_status run(ggml_cgraph* graph);

  // Of all computers so far: matrix products, and flash attentions that were ours.
  static std::uint64_t products();
  static std::uint64_t attentions();

 private:
  bool run_ours(const Step& step);
  void multiply(const Step& step);
  void feed_forward(const Step& step);
  void multiply_onto(const Product& product, const LinearInput& input, const ggml_tensor* sum);
  LinearInput prepare(const Weight& weight, const ggml_tensor* x);

  Kernels kernels_;
  std::shared_ptr<FirstQuestion> question_ = std::make_shared<FirstQuestion>();
  int threads_ = 1;
  Plan plan_;
  CpuNodes others_;
  AttentionNodes attention_;
  RopeNodes rope_;
  std::vector<LinearJob> jobs_;
  std::vector<AlignedBuffer<float>> aside_;  // by the number of the product in its step
  QuantizedBuffer blocks_{kActBlock}, rows_{0};
  AlignedBuffer<float> dense_;
  SwigluInput activated_;
};

}  // namespace dgq::ggml
