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
#include "quantizer/hidden_rows.h"
#include "runtime/decoder.h"
#include "runtime/linear.h"
#include "runtime/tokenizer.h"

namespace dgq {

using Sequence = std::vector<std::int32_t>;         // token ids, all below the vocabulary's size
using Fraction = std::function<void(double done)>;  // 0..1; may be empty

inline constexpr std::size_t kCalibrationLength = 256;
// Tokens per sequence: kCalibrationLength, or max_positions when that is less.
std::size_t sequence_length(const ModelConfig& config);

// About `tokens` tokens (whole sequences) that the model itself writes at temperature 1, starting from its BOS (EOS
// without one; token 0 without either). Depends on checkpoint, tokens and seed only. Its linears are coarse
// (quantizer/coarse_layer.h). memory: bytes that it may take (with at least one sequence at a time): layers that do not fit are
// made from the mapped checkpoint for every step, sequences that do not fit are written after the others; neither changes what
// is written.
Result<std::vector<Sequence>> sample_calibration(const Checkpoint& checkpoint, const Kernels& kernels,
                                                 std::size_t tokens, std::uint64_t seed, int threads,
                                                 std::uint64_t memory, const Fraction& progress);

// What sample_calibration() holds for `count` sequences, and how many it writes at a time.
std::uint64_t sampling_bytes(const ModelConfig& config, std::size_t count);
std::size_t sampled_at_once(const ModelConfig& config, std::size_t tokens, std::uint64_t memory);

// `tokens` random tokens, for models whose weights are random too.
std::vector<Sequence> random_calibration(const ModelConfig& config, std::size_t tokens, std::uint64_t seed);

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
    std::filesystem::path spill;        // the folder for hidden rows; empty: they stay in memory
  };
  // embedding: needed only here. Errors: io of the folder.
  static Result<CalibrationRun> start(const ModelConfig& config, const Kernels& kernels,
                                      const Options& options, const std::vector<Sequence>& sequences,
                                      const Linear& embedding);

  // Takes the sequences through the next layer, and says what its linears saw.
  // weights: by TapPoint, what each token's products count for; null: all the same.
  Result<LayerInputs> collect(const LayerWeights& layer, const std::array<TokenWeights, 4>* weights,
                              const Fraction& progress);
  // The same without looking.
  Result<void> pass(const LayerWeights& layer, const Fraction& progress);

 private:
  CalibrationRun(const ModelConfig& config, const Kernels& kernels, const Options& options,
                 HiddenRows hidden);
  // All sequences through the layer; `sequence` is the one at hand.
  Result<void> run(const LayerWeights& layer, const Tap* tap, std::size_t& sequence,
                   const Fraction& progress);
  // given: the static scale, 0: none. Returns max |x|.
  float round_rows(const float* x, std::size_t m, std::size_t k, float given, float* rounded);

  ModelConfig config_;  // of one layer: a cache serves one layer of one sequence, then the next
  Kernels kernels_;
  Options options_;
  Decoder decoder_;
  KvCache cache_;
  QuantizedBuffer rounding_;
  HiddenRows hidden_;
};

}  // namespace dgq
