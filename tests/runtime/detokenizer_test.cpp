#include "runtime/detokenizer.h"

#include <gtest/gtest.h>

#include "runtime/sampler.h"
#include "tests/runtime/small_tokenizer.h"

namespace dgq {
namespace {

using Ids = std::vector<std::int32_t>;
using Pieces = std::vector<std::string>;

Pieces stream(const Json& json, const Ids& ids, bool skip_special = true) {
  const auto tokenizer = test::parse(json);
  if (!tokenizer) return {tokenizer.error().what};
  Detokenizer detokenizer(*tokenizer, skip_special);
  Pieces pieces;
  for (const std::int32_t id : ids) pieces.push_back(detokenizer.push(id));
  pieces.push_back(detokenizer.finish());
  return pieces;
}

TEST(Detokenizer, HoldsBackIncompleteCharacters) {
  const Json json = test::byte_level_json();
  EXPECT_EQ(stream(json, {258, 0xF0, 0x9F, 0x99, 0x82, 'x'}), (Pieces{" the", "", "", "", "🙂", "x", ""}));
  EXPECT_EQ(stream(json, {0xC3}), (Pieces{"", "\uFFFD"}));
  EXPECT_EQ(stream(json, {0xC3, 'x'}), (Pieces{"", "\uFFFDx", ""}));
  EXPECT_EQ(stream(json, {0x80, 'x'}), (Pieces{"\uFFFD", "x", ""}));
}

TEST(Detokenizer, SkipsSpecialTokensAndIdsWithoutToken) {
  const Json json = test::byte_level_json();
  EXPECT_EQ(stream(json, {'a', 260, 99999, -1, 'b'}), (Pieces{"a", "", "", "", "b", ""}));
  EXPECT_EQ(stream(json, {'a', 260}, false), (Pieces{"a", "<|end|>", ""}));
}

TEST(Detokenizer, StripsTheFirstSpaceOnly) {
  EXPECT_EQ(stream(test::byte_fallback_json(), {1, 259, 263, 263}), (Pieces{"", "", " ab", " ab", ""}));
  EXPECT_EQ(stream(test::byte_fallback_json(), {262, 263}), (Pieces{"ab", " ab", ""}));
}

TEST(Detokenizer, HoldsBackRunsOfByteTokens) {
  const Json json = test::byte_fallback_json();
  EXPECT_EQ(stream(json, {3 + 0xC3, 3 + 0xA9, 260}), (Pieces{"", "", "éa", ""}));
  EXPECT_EQ(stream(json, {3 + 0xC3, 3 + 0xA9}), (Pieces{"", "", "é"}));
}

TEST(Detokenizer, StripsAtTheEnd) {
  Json json = test::byte_fallback_json();
  json["decoder"]["decoders"][3] = {{"type", "Strip"}, {"content", " "}, {"start", 0}, {"stop", 2}};
  EXPECT_EQ(stream(json, {263, 259, 259, 259}), (Pieces{" ab", "", "", " ", ""}));
  EXPECT_EQ(stream(json, {260, 259, 261}), (Pieces{"a", "", " b", ""}));
}

TEST(Detokenizer, IsAsNewAfterFinish) {
  const auto tokenizer = test::parse(test::byte_fallback_json());
  Detokenizer detokenizer(*tokenizer);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(detokenizer.push(263), "ab");
    EXPECT_EQ(detokenizer.push(3 + 0xFF), "");
    EXPECT_EQ(detokenizer.finish(), "\uFFFD");
  }
}

TEST(Detokenizer, AddsUpToDecode) {
  SplitMix64 random(1);
  for (const Json& json : {test::byte_level_json(), test::byte_fallback_json()}) {
    const auto tokenizer = test::parse(json);
    ASSERT_TRUE(tokenizer);
    for (int round = 0; round < 300; ++round) {
      Ids ids;
      while (random.next() % 12)
        ids.push_back(static_cast<std::int32_t>(random.next() % tokenizer->vocabulary_size()));
      for (const bool skip_special : {false, true}) {
        Detokenizer detokenizer(*tokenizer, skip_special);
        std::string text;
        for (const std::int32_t id : ids) {
          text += detokenizer.push(id);
          EXPECT_EQ(find_invalid_utf8(text), std::string::npos);
        }
        EXPECT_EQ(text + detokenizer.finish(), *tokenizer->decode(ids, skip_special)) << Json(ids).dump();
      }
    }
  }
}

}  // namespace
}  // namespace dgq
