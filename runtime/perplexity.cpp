#include "runtime/perplexity.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "runtime/math.h"
#include "runtime/windows.h"

namespace dgq {
namespace {

constexpr std::string_view kSeparator = "<|endoftext|>";

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
double score(WindowRunner& runner, std::size_t vocab, std::span<const std::int32_t> window) {
  double total = 0;
  const std::size_t inputs = window.size() - 1;  // the last token is only predicted
  for (std::size_t first = 0; first < inputs; first += WindowRunner::kChunk) {
    const std::size_t count = std::min(WindowRunner::kChunk, inputs - first);
    const float* logits = runner.logits(window, first, count);
    for (std::size_t i = 0; i < count; ++i)
      total += negative_log_likelihood({logits + i * vocab, vocab}, window[first + i + 1]);
  }
  return total;
}

}  // namespace

PerplexityResult summarise_windows(std::span<const double> means, std::size_t context) {
  PerplexityResult result;
  result.windows = means.size();
  result.tokens = means.size() * (context - 1);
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

LogSoftmax::LogSoftmax(std::span<const float> logits) {
  const bool finite = std::all_of(logits.begin(), logits.end(), [](float x) { return std::isfinite(x); });
  const auto likeliest = std::max_element(logits.begin(), logits.end());
  top = static_cast<std::size_t>(likeliest - logits.begin());
  highest = finite ? *likeliest : std::numeric_limits<double>::quiet_NaN();
  double sum = 0;
  if (finite)
    for (const float x : logits) sum += exp_f64(x - highest);
  log_sum = finite ? log_f64(sum) : highest;
}

double negative_log_likelihood(std::span<const float> logits, std::int32_t token) {
  return -LogSoftmax(logits)(logits[static_cast<std::size_t>(token)]);
}

Result<PerplexityResult> perplexity(
    const ModelConfig& config, const ModelWeights& weights, Decoder& decoder, KvType kv,
    std::span<const std::int32_t> tokens, std::size_t context, std::size_t windows,
    const std::function<void(std::size_t done, std::size_t total)>& progress) {
  DGQ_TRY(const std::size_t total, count_windows(config, tokens, context, windows));
  WindowRunner runner(config, weights, decoder, kv, context);
  std::vector<double> means;
  for (std::size_t i = 0; i < total; ++i) {
    means.push_back(score(runner, config.vocab, tokens.subspan(i * context, context)) /
                    static_cast<double>(context - 1));
    if (!std::isfinite(means.back()))
      return Error{Errc::corrupt, "the model's logits are not finite in window " + std::to_string(i)};
    if (progress) progress(i + 1, total);
  }
  return summarise_windows(means, context);
}

}  // namespace dgq
