#include "runtime/perplexity.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "runtime/math.h"
#include "runtime/session.h"

namespace dgq {
namespace {

constexpr std::string_view kSeparator = "<|endoftext|>";
constexpr std::size_t kChunk = 64;  // rows per step: bounds the logits, 64 * vocabulary floats

std::vector<std::string_view> split_documents(std::string_view text) {
  std::vector<std::string_view> documents;
  for (;;) {
    const std::size_t at = text.find(kSeparator);
    std::string_view document = text.substr(0, at);
    if (at != text.npos && document.ends_with('\n')) document.remove_suffix(1);
    if (!document.empty()) documents.push_back(document);
    if (at == text.npos) return documents;
    text.remove_prefix(at + kSeparator.size());
    if (text.starts_with('\n')) text.remove_prefix(1);
  }
}

// Sum over the tokens after the first of one window.
class WindowScorer {
 public:
  WindowScorer(const ModelConfig& config, const ModelWeights& weights, Decoder& decoder, KvType kv,
               std::size_t context)
      : weights_(weights), decoder_(decoder), vocab_(config.vocab), cache_(config, context, kv) {
    for (std::size_t i = 0; i < kChunk; ++i) every_.push_back(i);
    logits_.resize(kChunk * vocab_);
  }

  double score(std::span<const std::int32_t> window) {
    double total = 0;
    const std::size_t inputs = window.size() - 1;  // the last token is only predicted
    for (std::size_t first = 0; first < inputs; first += kChunk) {
      const std::size_t count = std::min(kChunk, inputs - first);
      rows_.clear();
      for (std::size_t i = 0; i < count; ++i) rows_.push_back({&cache_, first + i});
      decoder_.forward(weights_, window.subspan(first, count), rows_, std::span(every_).first(count),
                       logits_.data());
      for (std::size_t i = 0; i < count; ++i)
        total +=
            negative_log_likelihood(std::span(logits_).subspan(i * vocab_, vocab_), window[first + i + 1]);
    }
    return total;
  }

 private:
  const ModelWeights& weights_;
  Decoder& decoder_;
  std::size_t vocab_;
  KvCache cache_;
  std::vector<std::size_t> every_;
  std::vector<Row> rows_;
  std::vector<float> logits_;
};

PerplexityResult summarise(const std::vector<double>& means, std::size_t tokens) {
  PerplexityResult result;
  result.windows = means.size();
  result.tokens = tokens;
  const auto count = static_cast<double>(means.size());
  for (const double mean : means) result.mean_nll += mean / count;
  result.perplexity = exp_f64(result.mean_nll);
  if (means.size() < 2) return result;
  double squares = 0;
  for (const double mean : means) squares += (mean - result.mean_nll) * (mean - result.mean_nll);
  // d exp(x) = exp(x) dx
  result.standard_error = result.perplexity * std::sqrt(squares / (count - 1) / count);
  return result;
}

}  // namespace

Result<std::vector<std::int32_t>> encode_documents(const Tokenizer& tokenizer, std::string_view text) {
  const auto separator = tokenizer.find(kSeparator);
  std::vector<std::int32_t> tokens;
  for (const std::string_view document : split_documents(text)) {
    if (separator) tokens.push_back(*separator);
    DGQ_TRY(const auto ids, tokenizer.encode(document, true));
    tokens.insert(tokens.end(), ids.begin(), ids.end());
  }
  return tokens;
}

double negative_log_likelihood(std::span<const float> logits, std::int32_t token) {
  float highest = logits[0];
  bool finite = true;
  for (const float x : logits) {
    highest = highest < x ? x : highest;
    finite = finite && std::isfinite(x);
  }
  if (!finite) return std::numeric_limits<double>::quiet_NaN();
  double sum = 0;
  for (const float x : logits) sum += exp_f64(static_cast<double>(x) - highest);
  return log_f64(sum) - (static_cast<double>(logits[static_cast<std::size_t>(token)]) - highest);
}

Result<PerplexityResult> perplexity(
    const ModelConfig& config, const ModelWeights& weights, Decoder& decoder, KvType kv,
    std::span<const std::int32_t> tokens, std::size_t context, std::size_t windows,
    const std::function<void(std::size_t done, std::size_t total)>& progress) {
  if (context < 2) return Error{Errc::invalid, "a window needs at least 2 tokens"};
  DGQ_CHECK(check_tokens(config, tokens));
  const std::size_t whole = tokens.size() / context;
  if (whole == 0)
    return Error{Errc::invalid, "the text has " + std::to_string(tokens.size()) +
                                    " tokens, less than one window of " + std::to_string(context)};
  const std::size_t total = windows == 0 ? whole : std::min(windows, whole);
  WindowScorer scorer(config, weights, decoder, kv, context);
  std::vector<double> means;
  for (std::size_t i = 0; i < total; ++i) {
    means.push_back(scorer.score(tokens.subspan(i * context, context)) / static_cast<double>(context - 1));
    if (!std::isfinite(means.back()))
      return Error{Errc::corrupt, "the model's logits are not finite in window " + std::to_string(i)};
    if (progress) progress(i + 1, total);
  }
  return summarise(means, total * (context - 1));
}

}  // namespace dgq
