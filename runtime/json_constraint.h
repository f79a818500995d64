// runtime/json_constraint.h - which tokens may come next, so that the answer is a text of a grammar: whole, in the number
// of tokens that it may have.
//
// Which token of those is chosen stays the sampler's business. Nothing here depends on time or on what else was asked:
// the same logits and seed give the same text.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "runtime/json_automaton.h"
#include "runtime/token_trie.h"

namespace dgq {

// One answer. One thread at a time.
class JsonConstraint {
 public:
  // eos: tokens that end a text. unsupported: bytes that a text of the grammar must have are no tokens of their own, so
  // that it could not always be ended.
  static Result<std::unique_ptr<JsonConstraint>> make(std::shared_ptr<const JsonGrammar> grammar,
                                                      std::shared_ptr<const TokenTrie> trie,
                                                      std::vector<std::int32_t> eos);

  // That many more tokens always suffice to end the text.
  std::size_t least_tokens() const { return automaton_.least(state_); }

  // What may come next, as Sampler::sample takes it; at least one id. An EOS is among them where the text may end.
  // tokens_left: how many tokens the answer may still get, >= 1 and >= least_tokens(). Valid until the next call.
  std::span<const std::uint64_t> allowed(std::size_t tokens_left);
  void accept(std::int32_t id);  // one of those, no EOS

  bool is_over() const {
    return automaton_.is_over(state_) || (eos_.empty() && automaton_.least(state_) == 0);
  }
  bool was_hurried() const {
    return hurried_;
  }  // tokens were left out, since they would have made it too long

 private:
  JsonConstraint(std::shared_ptr<const JsonGrammar> grammar, std::shared_ptr<const TokenTrie> trie,
                 std::vector<std::int32_t> eos)
      : grammar_(std::move(grammar)), trie_(std::move(trie)), eos_(std::move(eos)), automaton_(*grammar_) {}

  struct Mask {
    std::vector<std::uint64_t> bits;
    std::uint32_t most = 0;  // bytes that are needed after one of its tokens, at most
  };
  Mask make_mask(std::uint32_t most);  // tokens after which at most so many bytes are needed

  std::shared_ptr<const JsonGrammar> grammar_;
  std::shared_ptr<const TokenTrie> trie_;
  std::vector<std::int32_t> eos_;
  JsonAutomaton automaton_;
  JsonAutomaton::State state_ = automaton_.start();
  std::unordered_map<JsonAutomaton::State, Mask> masks_;  // of states, without a limit
  Mask hurried_mask_;
  std::vector<JsonAutomaton::State> path_;  // of make_mask: by depth
  bool hurried_ = false;
};

}  // namespace dgq
