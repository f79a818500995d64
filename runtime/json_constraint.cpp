#include "runtime/json_constraint.h"

#include <algorithm>

namespace dgq {
namespace {

// Beyond these everything is forgotten but the state in hand: 16 MiB of rows, about 40 MiB of frames; masks of 128k tokens
// take 16 KiB each.
constexpr std::size_t kMostStates = 16'384, kMostFrames = 400'000, kMostMasks = 512;

}  // namespace

Result<std::unique_ptr<JsonConstraint>> JsonConstraint::make(std::shared_ptr<const JsonGrammar> grammar,
                                                             std::shared_ptr<const TokenTrie> trie,
                                                             std::vector<std::int32_t> eos) {
  std::bitset<256> needed;
  for (int byte = ' '; byte <= '~'; ++byte) needed.set(static_cast<std::size_t>(byte));
  for (const GrammarNode& node : grammar->nodes) {
    for (const char byte : node.text) needed.set(static_cast<unsigned char>(byte));
    if (node.pattern) needed |= node.pattern->needed();
    for (const GrammarProperty& property : node.properties)
      for (const char byte : property.key) needed.set(static_cast<unsigned char>(byte));
  }
  for (std::size_t byte = 0; byte < 256; ++byte)
    if (needed[byte] && !trie->has_byte(static_cast<unsigned char>(byte)))
      return Error{Errc::unsupported,
                   "answers of this schema are not supported: the model has no token for byte " +
                       std::to_string(byte) + " alone"};
  return std::unique_ptr<JsonConstraint>(
      new JsonConstraint(std::move(grammar), std::move(trie), std::move(eos)));
}

JsonConstraint::Mask JsonConstraint::make_mask(std::uint32_t most) {
  std::size_t ids = trie_->vocabulary_size();
  for (const std::int32_t id : eos_) ids = std::max(ids, static_cast<std::size_t>(id) + 1);
  Mask mask{std::vector<std::uint64_t>((ids + 63) / 64), 0};
  const auto set = [&](std::int32_t id) {
    mask.bits[static_cast<std::size_t>(id) / 64] |= std::uint64_t{1} << id % 64;
  };
  path_.resize(trie_->longest() + 1);
  path_[0] = state_;
  const std::vector<TokenTrie::Node>& nodes = trie_->nodes();
  for (std::size_t i = 0; i < nodes.size();) {
    const TokenTrie::Node& node = nodes[i];
    const JsonAutomaton::State state = path_[node.depth] = automaton_.next(path_[node.depth - 1u], node.byte);
    if (state == JsonAutomaton::kDead) {
      i = node.end;
      continue;
    }
    const std::uint32_t least = automaton_.least(state);
    if (node.first_id != node.end_id && least <= most) {
      for (const std::int32_t id : trie_->ids(node)) set(id);
      mask.most = std::max(mask.most, least);
    }
    ++i;
  }
  for (const std::int32_t id : eos_) {
    mask.bits[static_cast<std::size_t>(id) / 64] &= ~(std::uint64_t{1} << id % 64);
    if (automaton_.least(state_) == 0) set(id);
  }
  return mask;
}

std::span<const std::uint64_t> JsonConstraint::allowed(std::size_t tokens_left) {
  if (automaton_.states() > kMostStates || automaton_.frames() > kMostFrames || masks_.size() > kMostMasks) {
    automaton_.forget_others(state_);
    state_ = automaton_.start();
    masks_.clear();
  }
  const auto [entry, is_new] = masks_.try_emplace(state_);
  if (is_new) entry->second = make_mask(UINT32_MAX);
  if (entry->second.most < tokens_left) return entry->second.bits;
  hurried_ = true;
  hurried_mask_ = make_mask(static_cast<std::uint32_t>(tokens_left - 1));
  return hurried_mask_.bits;
}

void JsonConstraint::accept(std::int32_t id) {
  for (const char byte : trie_->bytes(id)) state_ = automaton_.next(state_, static_cast<unsigned char>(byte));
}

}  // namespace dgq
