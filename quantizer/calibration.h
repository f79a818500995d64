// quantizer/calibration.h - the text that quantization errors are measured on, and its run through the model.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kernels/table.h"
#include "quantizer/checkpoint.h"
#include "runtime/decoder.h"
#include "runtime/linear.h"
#include "runtime/tokenizer.h"

namespace dgq {

using Sequence = std::vector<std::int32_t>;         // token ids, all below the vocabulary's size
using Fraction = std::function<void(double done)>;  // 0..1; may be empty

inline constexpr std::size_t kCalibrationLength =
    256;  // tokens per sequence, or max_positions when that is less

// About `tokens` tokens (whole sequences) that the model itself writes at temperature 1, starting from its BOS (EOS
// without one; token 0 without either). Depends on checkpoint, tokens and seed only. Its linears are coarse
// (quantizer/coarse_layer.h). Holds up to 1 GiB of them; those beyond are made from the mapped checkpoint for every step.
Result<std::vector<Sequence>> sample_calibration(const Checkpoint& checkpoint, const Kernels& kernels,
                                                 std::size_t tokens, std::uint64_t seed, int threads,
                                                 const Fraction& progress);

// `text` cut at <|endoftext|> into documents, those into sequences; as many as make `tokens`, evenly spread over the
// text. `where` is the file's name. invalid: no text, or not UTF-8 (with the byte offset).
Result<std::vector<Sequence>> text_calibration(std::string_view text, std::string_view where,
                                               const Tokenizer& tokenizer, const ModelConfig& config,
                                               std::size_t tokens);

// About `tokens` tokens of them (at least one sequence), evenly spread.
std::vector<Sequence> thin_out(std::vector<Sequence> all, std::size_t tokens);

// SHA-256 of the sequences, for provenance.
Digest sequences_digest(const std::vector<Sequence>& sequences);

// What a linear reads on the calibration text, rounded to int8 as at run time.
struct LinearInputs {
  std::vector<float> h;    // H = X^T X, [k][k]
  std::size_t tokens = 0;  // rows of X
  float largest = 0;       // max |x|
};
using LayerInputs = std::array<LinearInputs, 4>;       // at each TapPoint, in that order
using TokenWeights = std::vector<std::vector<float>>;  // per sequence and token

// All sequences on their way through the model, layer by layer: only one layer's weights are needed. Inputs are rounded to int8
// as at run time; the layers they come from are coarse (quantizer/coarse_layer.h), not what the recipe made of them: measured on
// `eval`, that costs 0.5 % KLD, and every layer can be quantized by itself.
class CalibrationRun {
 public:
  struct Options {
    int threads = 1;
    std::size_t act_block = kActBlock;  // as Decoder
  };
  // embedding: needed only here.
  CalibrationRun(const ModelConfig& config, const Kernels& kernels, const Options& options,
                 const std::vector<Sequence>& sequences, const Linear& embedding);

  // Takes the sequences through the next layer, and says what its linears saw.
  // weights: by TapPoint, what each token's products count for; null: all the same.
  LayerInputs collect(const LayerWeights& layer, const std::array<TokenWeights, 4>* weights,
                      const Fraction& progress);
  // The same without looking.
  void pass(const LayerWeights& layer);

 private:
  void run(const LayerWeights& layer, std::vector<float>& hidden, const Tap* tap);
  // given: the static scale, 0: none. Returns max |x|.
  float round_rows(const float* x, std::size_t m, std::size_t k, float given, float* rounded);

  ModelConfig config_;  // of one layer: a cache serves one layer of one sequence, then the next
  Kernels kernels_;
  Options options_;
  Decoder decoder_;
  KvCache cache_;
  QuantizedBuffer rounding_;
  std::vector<std::vector<float>> hidden_;  // per sequence: [tokens][hidden]
};

}  // namespace dgq
