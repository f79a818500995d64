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

// SHA-256 of the sequences, for provenance.
Digest sequences_digest(const std::vector<Sequence>& sequences);

// H = X^T X of the four inputs of one layer's linears.
struct LayerStatistics {
  std::vector<float> q, o, gate, down;  // [k][k]; q also serves k and v, gate also up
};

// All sequences on their way through the fp32 model, one layer at a time: only that layer's weights are needed.
class CalibrationRun {
 public:
  CalibrationRun(const ModelConfig& config, const Kernels& kernels, int threads,
                 const std::vector<Sequence>& sequences,
                 std::vector<float> embedding);  // [vocab][hidden], needed only here
  // Takes the sequences through the next layer.
  LayerStatistics run_layer(const LayerWeights& weights, const Fraction& progress);

 private:
  ModelConfig config_;  // of one layer: a cache serves one layer of one sequence, then the next
  Kernels kernels_;
  int threads_;
  Decoder decoder_;
  KvCache cache_;
  std::vector<std::vector<float>> hidden_;  // per sequence: [tokens][hidden]
};

}  // namespace dgq
