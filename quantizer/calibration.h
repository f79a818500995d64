// quantizer/calibration.h - the text that quantization errors are measured on, and its run through the fp32 model.
#pragma once

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

// About `tokens` tokens (whole sequences) that the fp32 model itself writes at temperature 1, starting from its BOS (EOS
// without one; token 0 without either). Depends on checkpoint, tokens and seed only. Holds up to 1 GiB of fp32
// layers; those beyond are converted from the mapped checkpoint for every step.
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

// What a linear layer's inputs say about errors in its weights; [k][k] each.
struct InputStatistics {
  std::vector<float> h;  // X^T X of the inputs as they run: of the quantized model so far, rounded to int8
  std::vector<float> drift;  // X^T (X32 - X): how far fp32 inputs X32 are from them; empty unless asked for
};

// All sequences on their way through the model, one half of a layer at a time: only that layer's weights are needed. Each
// linear sees inputs that went through the quantized linears before it, rounded to int8 as at run time.
class CalibrationRun {
 public:
  struct Options {
    int threads = 1;
    std::size_t act_block = kActBlock;  // as Decoder
    bool drift = false;                 // a second stream runs in fp32, to compare with
  };
  // embedding: as the quantized model has it; embedding32: the same in fp32, looked at with drift only. Both are needed only
  // here.
  CalibrationRun(const ModelConfig& config, const Kernels& kernels, const Options& options,
                 const std::vector<Sequence>& sequences, const Linear& embedding, const Linear& embedding32);

  // Of the inputs at `point`. `weights`: of the layer, those of the linears before the point are used; `weights32`: the same in
  // fp32, looked at with drift only.
  // weights_of_tokens: per sequence and token, what its products count for; null: all the same.
  InputStatistics collect(TapPoint point, const LayerWeights& weights, const LayerWeights& weights32,
                          const std::vector<std::vector<float>>* weights_of_tokens, const Fraction& progress);
  // Takes the sequences through the first half of the layer, attention, or the second.
  void pass_attention(const LayerWeights& weights, const LayerWeights& weights32);
  void pass_ffn(const LayerWeights& weights, const LayerWeights& weights32);

 private:
  using Hidden = std::vector<std::vector<float>>;  // per sequence: [tokens][hidden]

  Hidden embed(const std::vector<Sequence>& sequences, const Linear& embedding);
  void run_half(bool attention, const LayerWeights& weights, std::vector<float>& hidden, const Tap* tap);
  void round_rows(const float* x, std::size_t m, std::size_t k, float* rounded);

  ModelConfig config_;  // of one layer: a cache serves one layer of one sequence, then the next
  Kernels kernels_;
  Options options_;
  Decoder decoder_;
  KvCache cache_;
  QuantizedBuffer rounding_;
  Hidden hidden_, hidden32_;  // hidden32_ with drift only
};

}  // namespace dgq
