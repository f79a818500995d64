// bench/synthetic_model.h - a model of given sizes with random weights that hold every invariant of kernels/packed.h.
//
// Recipes of the quantizer: linears of the layers W4 and W6, embedding and head W8 or as these, norms f32. Speed depends on
// sizes, not on values; values are scaled so that activations keep their size from layer to layer.
#pragma once

#include <cstddef>

#include "base/result.h"
#include "bench/memory.h"
#include "kernels/packed.h"
#include "runtime/config.h"
#include "runtime/weights.h"

namespace dgq::bench {

struct Recipe {
  enum Fine { w4, w6, mixed };  // of the layers' linears; mixed: k, v and down W6, the others W4
  std::size_t group = 128;      // 32, 64 or 128
  Fine fine = w4;
  enum Head { head_w4, head_w6, head_w8 };  // of embedding and head
  Head head = head_w8;
};

struct ModelSize {
  std::size_t bytes = 0;       // of all sections, as in layer files (headers left out)
  std::size_t parameters = 0;  // a tied head counts once
};
ModelSize synthetic_model_size(const ModelConfig& config, const Recipe& recipe);

class SyntheticModel {
 public:
  // Pages are touched first by the thread (of `threads`) that a decoder with as many would read
  // them with. invalid: more than the available memory.
  static Result<SyntheticModel> make(const ModelConfig& config, const Recipe& recipe, int threads);
  const ModelWeights& weights() const { return weights_; }

 private:
  SyntheticModel(Pages pages, ModelWeights weights)
      : pages_(std::move(pages)), weights_(std::move(weights)) {}
  Pages pages_;
  ModelWeights weights_;
};

// A section of random weights at `section` (64-byte aligned, packed_*_bytes long).
template <int kBits>
FineMatrix<kBits> random_fine(std::byte* section, std::size_t n, std::size_t k, std::size_t group, bool bias,
                              int threads);
W8Matrix random_w8(std::byte* section, std::size_t n, std::size_t k, bool bias, int threads);

}  // namespace dgq::bench
