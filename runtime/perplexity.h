// runtime/perplexity.h - how well a model predicts a text: exp of the mean negative log-likelihood per token.
//
// The token stream is cut into windows of `context` tokens; each is scored from scratch, every token after its first
// given those before it in the window.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "runtime/decoder.h"
#include "runtime/tokenizer.h"

namespace dgq {

// Documents of a text are separated by <|endoftext|> (with a line break before and after it, if there is one). Encodes
// each, special tokens of the post-processor included, and puts the token <|endoftext|> between them if the tokenizer
// has one.
Result<std::vector<std::int32_t>> encode_documents(const Tokenizer& tokenizer, std::string_view text);

struct PerplexityResult {
  double perplexity = 0;
  double standard_error =
      0;  // of the perplexity, from the spread of the windows' means (delta method); 0 for one window
  double mean_nll = 0;                  // nats per token
  std::size_t windows = 0, tokens = 0;  // tokens: that were predicted
};

// From the mean negative log-likelihood per token of each window.
PerplexityResult summarise_windows(std::span<const double> means, std::size_t context);

// log softmax(logits), in double and in a fixed order. NaN or infinite logits make it NaN everywhere.
struct LogSoftmax {
  explicit LogSoftmax(std::span<const float> logits);
  double operator()(float logit) const { return logit - highest - log_sum; }
  double highest, log_sum;
  std::size_t top;  // the likeliest token; among equals the lowest
};

// -log softmax(logits)[token]
double negative_log_likelihood(std::span<const float> logits, std::int32_t token);

// At most `windows` windows of the tokens (0: all whole ones). Calls progress(done, total) after each. Errors: invalid: fewer
// tokens than one window, or one outside the vocabulary; corrupt: a logit is not finite (the window is named).
Result<PerplexityResult> perplexity(
    const ModelConfig& config, const ModelWeights& weights, Decoder& decoder, KvType kv,
    std::span<const std::int32_t> tokens, std::size_t context, std::size_t windows,
    const std::function<void(std::size_t done, std::size_t total)>& progress = {});

}  // namespace dgq
