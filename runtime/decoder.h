// runtime/decoder.h - the Llama-family graph: RMSNorm (of q and k, too, in Qwen3), RoPE, grouped-query attention,
// SwiGLU.
//
// Works on a batch of rows. A row is one token at one position of one sequence, so that a prompt (many rows
// of one sequence) and several running sequences (one row each) are the same call. Each row's numbers do not
// depend on the other rows of the batch, on the kernels chosen or on the number of threads: logits are equal
// bit for bit.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "kernels/table.h"
#include "runtime/config.h"
#include "runtime/kv_cache.h"
#include "runtime/weights.h"

namespace dgq {

struct Row {
  KvCache* cache;        // of the row's sequence
  std::size_t position;  // < cache->capacity(); rows of one sequence stand in ascending order without gaps,
                         // and positions before the first are filled already
};

// Sees the inputs of the linears of one layer while it runs, m rows of k floats each: before q, k, v (name
// q), before o, before gate and up (name gate), before down. Returns whether to go on: else this half of the layer ends
// here and leaves the hidden rows as they were.
enum class TapPoint { q, o, gate, down };
using Tap = std::function<bool(TapPoint point, const float* x, std::size_t m, std::size_t k)>;

class Decoder {
 public:
  // threads: threads per step, >= 1. Kernels as chosen at load. act_block: kActBlock, or 0 for one
  // scale per row.
  Decoder(const ModelConfig& config, const Kernels& kernels, int threads, std::size_t act_block = kActBlock);
  Decoder(Decoder&&) noexcept;
  ~Decoder();
  int threads() const;

  // hidden: [rows.size()][config.hidden]; embedding rows of the tokens (each < config.vocab).
  void embed(const Linear& embedding, std::span<const std::int32_t> tokens, float* hidden);

  // One decoder layer in place; writes the rows' keys and values into their caches at layer index `layer`.
  void run_layer(std::size_t layer, const LayerWeights& weights, std::span<const Row> rows, float* hidden,
                 const Tap* tap = nullptr);

  // Its two halves, each of which adds to the hidden rows: attention with q, k, v, o; then gate, up, down.
  void run_attention(std::size_t layer, const LayerWeights& weights, std::span<const Row> rows, float* hidden,
                     const Tap* tap = nullptr);
  void run_ffn(const LayerWeights& weights, std::size_t m, float* hidden, const Tap* tap = nullptr);

  // Final norm and output head of `m` rows: logits [m][config.vocab].
  void run_head(const float* final_norm, const Linear& head, const float* hidden, std::size_t m,
                float* logits);

  // All of it: tokens[i] at rows[i]. Logits of the rows named in `wanted` (indices into rows, ascending) go
  // to logits [wanted.size()][config.vocab].
  void forward(const ModelWeights& weights, std::span<const std::int32_t> tokens, std::span<const Row> rows,
               std::span<const std::size_t> wanted, float* logits);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dgq
