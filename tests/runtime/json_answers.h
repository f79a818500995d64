// tests/runtime/json_answers.h - grammars of schemas, what they take, and answers under them by a model that knows nothing.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "runtime/json_constraint.h"
#include "runtime/sampler.h"
#include "tests/runtime/json_validator.h"
#include "tests/runtime/small_tokenizer.h"

namespace dgq::test {

inline std::shared_ptr<const TokenTrie> trie_of(const Tokenizer& tokenizer) {
  auto trie = TokenTrie::make(tokenizer);
  EXPECT_TRUE(trie) << trie.error().what;
  return std::make_shared<const TokenTrie>(std::move(*trie));
}

inline const std::shared_ptr<const TokenTrie>& byte_level() {
  static const auto trie = trie_of(*parse(byte_level_json()));
  return trie;
}
inline constexpr std::int32_t kEnd = 260;

inline std::shared_ptr<const JsonGrammar> compile(const OrderedJson& schema) {
  auto grammar = compile_json_schema(schema);
  EXPECT_TRUE(grammar) << schema << ": " << grammar.error().what;
  return grammar ? std::make_shared<const JsonGrammar>(std::move(*grammar)) : nullptr;
}
inline OrderedJson json(const char* text) { return OrderedJson::parse(text); }

inline bool takes(const JsonGrammar& grammar, std::string_view text) {
  JsonAutomaton automaton(grammar);
  JsonAutomaton::State state = automaton.start();
  for (const char byte : text) {
    state = automaton.next(state, static_cast<unsigned char>(byte));
    if (state == JsonAutomaton::kDead) return false;
  }
  return automaton.least(state) == 0;
}

// A model that knows nothing. In some of its steps ASCII is likelier, so that texts are of many kinds.
struct Answer {
  std::string text;
  std::size_t tokens = 0;
  bool hurried = false;
};
inline Answer answer(const std::shared_ptr<const JsonGrammar>& grammar,
                     const std::shared_ptr<const TokenTrie>& trie, std::int32_t eos, std::size_t max_tokens,
                     std::uint64_t seed) {
  auto made = JsonConstraint::make(grammar, trie, {eos});
  EXPECT_TRUE(made) << made.error().what;
  JsonConstraint& constraint = **made;
  SplitMix64 random(seed);
  Sampler sampler({.temperature = 1, .seed = seed});
  std::vector<float> logits(std::max(trie->vocabulary_size(), static_cast<std::size_t>(eos) + 1));
  Answer answer;
  const std::size_t limit = std::max(max_tokens, constraint.least_tokens());
  const double ends = random.next_unit() * 8;  // how much the model likes to close what is open
  while (!constraint.is_over() && answer.tokens < limit) {
    for (float& logit : logits) logit = static_cast<float>(random.next_unit() * 4);
    for (const char end : std::string("\"]},"))
      logits[static_cast<unsigned char>(end)] += static_cast<float>(ends);
    const auto id = sampler.sample(logits, {}, constraint.allowed(limit - answer.tokens));
    EXPECT_TRUE(id) << "nothing is allowed after " << answer.text;
    if (!id || *id == eos) break;
    constraint.accept(*id);
    answer.text += trie->bytes(*id);
    ++answer.tokens;
  }
  answer.hurried = constraint.was_hurried();
  return answer;
}

inline void expect_valid(const OrderedJson& schema, std::size_t max_tokens, std::uint64_t seed) {
  const auto grammar = compile(schema);
  ASSERT_TRUE(grammar);
  const Answer got = answer(grammar, byte_level(), kEnd, max_tokens, seed);
  const OrderedJson value = OrderedJson::parse(got.text, nullptr, false);
  ASSERT_FALSE(value.is_discarded()) << schema << "\nseed " << seed << ": " << got.text;
  EXPECT_TRUE(validates(value, schema, schema)) << schema << "\nseed " << seed << ": " << got.text;
}

// Each has strings of 4 characters.
inline constexpr const char* kPatterns[] = {R"(^[a-z]+$)",
                                            R"(^(ab|cd)*$)",
                                            R"([0-9])",
                                            R"(^\d{2}.?.$)",
                                            R"(^[^a-zA-Z]*$)",
                                            R"(^"?\\?[\t\n]?.*$)",
                                            R"(\w\W|^é+$)",
                                            R"(^(a|(b|c){2})+$)",
                                            R"(^[Ā-ɏ☀-☃😀-😎]{2,}$)",
                                            R"(x$|^y)",
                                            ""};

}  // namespace dgq::test
