// quantizer/backward.h - one decoder layer in fp32, forward with everything kept and backward: what the model's loss says about
// the outputs of its linears. The graph of runtime/decoder.h; kept to what the quantizer needs: gradients by activations.
//
// Same bits for every kernel row and number of threads.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "kernels/table.h"
#include "quantizer/linear_id.h"
#include "runtime/config.h"
#include "runtime/rope.h"

namespace dgq {

// One sequence of m tokens; [m][...] each.
struct LayerTrace {
  std::vector<float> plain_q, plain_k;  // before the norms of heads; empty where there are none
  std::vector<float> input, normed, q, k, v, mixed, middle, normed_middle, gate, up, activated, output;
};

class LayerBackward {
 public:
  // weights: of F32Matrix, borrowed. threads as in parallel_ranges.
  LayerBackward(const ModelConfig& config, const Kernels& kernels, int threads, const LayerWeights& weights);

  // input: [m][hidden].
  LayerTrace forward(std::vector<float> input);

  // gradient: of the loss by the layer's output [m][hidden]; becomes that by its input. see(linear, by its output [m][n], its
  // input [m][k]) for every linear.
  using See = std::function<void(LinearId linear, const std::vector<float>& gradient,
                                 const std::vector<float>& input)>;
  void backward(const LayerTrace& trace, std::vector<float>& gradient, const See& see);

 private:
  std::vector<float> product(const F32Matrix& w, const std::vector<float>& x) const;
  std::vector<float> norm(const std::vector<float>& x, const float* weight) const;
  // The gradient by a norm's input is added to `sum`.
  void norm_backward(const std::vector<float>& x, const float* weight, const std::vector<float>& gradient,
                     std::vector<float>& sum) const;
  // Norms of heads (Qwen3), in place; `plain` keeps what was there. Nothing without a weight.
  void norm_heads(const float* weight, std::vector<float>& x, std::vector<float>& plain) const;
  void norm_heads_backward(const float* weight, const std::vector<float>& plain,
                           std::vector<float>& gradient) const;
  void rotate(std::vector<float>& x, std::size_t heads, bool back);
  void attend(LayerTrace& trace) const;
  struct AttentionGradient {
    std::vector<float> q, k, v;
  };
  AttentionGradient attend_backward(const LayerTrace& trace, const std::vector<float>& gradient) const;

  const F32Matrix& weight(LinearId id) const { return weights_[static_cast<std::size_t>(id)]; }
  const F32Matrix& transposed(LinearId id);  // made when it is first asked for

  ModelConfig config_;
  Kernels kernels_;
  int threads_;
  RopeTable rope_;
  const float *input_norm_, *middle_norm_, *q_norm_, *k_norm_;
  std::array<F32Matrix, kLinears> weights_, transposed_{};
  std::array<std::vector<float>, kLinears> storage_;  // of transposed_
};

// y = x w^T (+ bias) for rows of x; the rows of w are split over the threads. [m][w.n].
std::vector<float> multiply(const GemmF32Kernel& gemm, const F32Matrix& w, const std::vector<float>& x,
                            int threads);
// [k][n] of w [n][k].
std::vector<float> transpose(const F32Matrix& w, int threads);
// sum += the gradient by x of y = rms_norm(x) * weight, given that by y. All [m][width].
void rms_norm_backward(const float* x, const float* weight, const float* gradient, std::size_t width,
                       double eps, float* sum);

}  // namespace dgq
