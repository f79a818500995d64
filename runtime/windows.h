// runtime/windows.h - a text as windows of `context` tokens, each run through a model from scratch.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "base/result.h"
#include "runtime/decoder.h"
#include "runtime/session.h"

namespace dgq {

// Runs one window at a time; scratch memory is kept.
class WindowRunner {
 public:
  // Rows whose logits are there at a time: bounds them to kChunk * vocabulary floats.
  static constexpr std::size_t kChunk = 64;

  WindowRunner(const ModelConfig& config, const ModelWeights& weights, Decoder& decoder, KvType kv,
               std::size_t context);

  // Logits [count][vocab] of the rows [first, first + count) of a window, count <= kChunk; valid until the next call. The
  // rows of a window come in ascending order, from 0 and without gaps.
  const float* logits(std::span<const std::int32_t> window, std::size_t first, std::size_t count);

 private:
  const ModelWeights& weights_;
  Decoder& decoder_;
  KvCache cache_;
  std::vector<std::size_t> every_;
  std::vector<Row> rows_;
  std::vector<float> logits_;
};

// How many windows the tokens make, at most `windows` (0: all whole ones). invalid: not even one, a context below
// 2, or a token outside the vocabulary.
Result<std::size_t> count_windows(const ModelConfig& config, std::span<const std::int32_t> tokens,
                                  std::size_t context, std::size_t windows);

}  // namespace dgq
