#include "runtime/windows.h"

#include <algorithm>
#include <numeric>
#include <string>

namespace dgq {

WindowRunner::WindowRunner(const ModelConfig& config, const ModelWeights& weights, Decoder& decoder,
                           KvType kv, std::size_t context)
    : weights_(weights),
      decoder_(decoder),
      cache_(config, context, kv),
      every_(kChunk),
      logits_(kChunk * config.vocab) {
  std::iota(every_.begin(), every_.end(), std::size_t{0});
}

const float* WindowRunner::logits(std::span<const std::int32_t> window, std::size_t first,
                                  std::size_t count) {
  rows_.clear();
  for (std::size_t i = 0; i < count; ++i) rows_.push_back({&cache_, first + i});
  decoder_.forward(weights_, window.subspan(first, count), rows_, std::span(every_).first(count),
                   logits_.data());
  return logits_.data();
}

Result<std::size_t> count_windows(const ModelConfig& config, std::span<const std::int32_t> tokens,
                                  std::size_t context, std::size_t windows) {
  if (context < 2) return Error{Errc::invalid, "a window needs at least 2 tokens"};
  DGQ_CHECK(check_tokens(config, tokens));
  const std::size_t whole = tokens.size() / context;
  if (whole == 0)
    return Error{Errc::invalid, "the text has " + std::to_string(tokens.size()) +
                                    " tokens, less than one window of " + std::to_string(context)};
  return windows == 0 ? whole : std::min(windows, whole);
}

}  // namespace dgq
