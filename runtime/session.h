// runtime/session.h - one running sequence: tokens in, logits of the last one out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "runtime/decoder.h"

namespace dgq {

class Session {
 public:
  // Borrows weights and decoder; one decoder may serve several sessions, one at a time. context: positions that the
  // cache holds, 1..config.max_positions (check_context).
  Session(const ModelConfig& config, const ModelWeights& weights, Decoder& decoder, std::size_t context,
          KvType kv);

  // Appends tokens, many at a time. invalid, with nothing changed: no token, an id outside the vocabulary, or more
  // positions than the context has left.
  Result<void> append(std::span<const std::int32_t> tokens);
  Result<void> append(std::int32_t token) { return append(std::span(&token, 1)); }

  // [vocab], after the last token; unspecified before the first append. Valid until the next.
  std::span<const float> logits() const { return logits_; }
  std::size_t position() const { return position_; }  // tokens so far
  std::size_t context() const { return cache_.capacity(); }
  std::size_t kv_bytes() const { return cache_.bytes(); }
  void reset() { position_ = 0; }  // an empty sequence again

  // For a sequence that was kept elsewhere (session_file.h): what the cache holds of it, and how many positions that is. Logits are
  // there after the next append.
  KvCache& cache() { return cache_; }
  void resume(std::size_t position) { position_ = position; }
  // As append() would judge them.
  Result<void> check(std::span<const std::int32_t> tokens) const;

 private:
  const ModelConfig& config_;
  const ModelWeights& weights_;
  Decoder& decoder_;
  KvCache cache_;
  std::size_t position_ = 0;
  std::vector<float> logits_;
  std::vector<Row> rows_;
};

// The context a session may have: `wanted`, or with 0 the model's own. invalid: more than the model knows.
Result<std::size_t> check_context(const ModelConfig& config, std::size_t wanted);

// invalid: an id outside the vocabulary.
Result<void> check_tokens(const ModelConfig& config, std::span<const std::int32_t> tokens);

}  // namespace dgq
