#include "runtime/session.h"

#include <algorithm>
#include <string>

namespace dgq {
namespace {

// Rows per step of a prompt: scratch memory grows with it, and the panels of the linears are used up by then.
constexpr std::size_t kChunk = 256;

}  // namespace

Session::Session(const ModelConfig& config, const ModelWeights& weights, Decoder& decoder,
                 std::size_t context, KvType kv)
    : config_(config),
      weights_(weights),
      decoder_(decoder),
      cache_(config, context, kv),
      logits_(config.vocab),
      rows_(std::min(kChunk, context)) {}

Result<void> Session::append(std::span<const std::int32_t> tokens) {
  if (tokens.empty()) return Error{Errc::invalid, "there is no token to process"};
  DGQ_CHECK(check_tokens(config_, tokens));
  if (tokens.size() > context() - position_)
    return Error{Errc::invalid,
                 "the context of " + std::to_string(context()) + " tokens is full: " +
                     std::to_string(position_) + " are there, " + std::to_string(tokens.size()) +
                     " more do not fit (the model's limit is " + std::to_string(config_.max_positions) + ")"};
  while (!tokens.empty()) {
    const std::size_t count = std::min(tokens.size(), kChunk);
    for (std::size_t i = 0; i < count; ++i) rows_[i] = {&cache_, position_ + i};
    const std::size_t last = count - 1;
    decoder_.forward(weights_, tokens.first(count), std::span(rows_).first(count),
                     std::span(&last, count == tokens.size() ? 1 : 0), logits_.data());
    position_ += count;
    tokens = tokens.subspan(count);
  }
  return {};
}

Result<void> Session::check(std::span<const std::int32_t> tokens) const {
  return check_tokens(config_, tokens);
}

Result<std::size_t> check_context(const ModelConfig& config, std::size_t wanted) {
  if (wanted <= config.max_positions) return wanted == 0 ? config.max_positions : wanted;
  return Error{Errc::invalid, "a context of " + std::to_string(wanted) + " tokens is more than the model's " +
                                  std::to_string(config.max_positions)};
}

Result<void> check_tokens(const ModelConfig& config, std::span<const std::int32_t> tokens) {
  for (const std::int32_t token : tokens)
    if (token < 0 || static_cast<std::size_t>(token) >= config.vocab)
      return Error{Errc::invalid,
                   "token " + std::to_string(token) + " is outside the model's vocabulary of " +
                       std::to_string(config.vocab) + ": tokenizer and model do not belong together"};
  return {};
}

}  // namespace dgq
