// runtime/swiglu.h - gate and up of a feed-forward layer, SwiGLU, and the quantization of what comes out for down: one loop, in which every thread
// goes on with what it has just made.
#pragma once

#include <cstddef>
#include <vector>

#include "runtime/linear.h"

namespace dgq {

// Memory for one input at a time.
class SwigluInput {
 public:
  // swiglu(gate(x), up(x)) in int8, each chunk of kActBlock columns with its own scale; the floats are not kept. gate and up have as many
  // output rows. Valid until the next call.
  LinearInput run(const Linear& gate, const Linear& up, const LinearInput& x, const Kernels& kernels,
                  int threads);

 private:
  struct Thread {
    AlignedBuffer<float> gate, up;
  };
  std::vector<Thread> own_;
  QuantizedBuffer quantized_{kActBlock};
};

}  // namespace dgq
