#include "runtime/tokenizer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/file.h"
#include "runtime/detokenizer.h"
#include "tests/runtime/small_tokenizer.h"
#include "tests/support/shared.h"
#include "tests/support/tokenizer_golden.h"

namespace dgq {
namespace {

using Ids = std::vector<std::int32_t>;
using test::byte_fallback_json;
using test::byte_level_json;
using test::parse;

Ids encode(const Json& json, std::string_view text, bool add_special = false) {
  const auto tokenizer = parse(json);
  if (!tokenizer) return ADD_FAILURE() << tokenizer.error().what, Ids{};
  const auto ids = tokenizer->encode(text, add_special);
  if (!ids) return ADD_FAILURE() << ids.error().what, Ids{};
  return *ids;
}

std::string decode(const Json& json, const Ids& ids, bool skip_special = false) {
  const auto tokenizer = parse(json);
  if (!tokenizer) return ADD_FAILURE() << tokenizer.error().what, "";
  const auto text = tokenizer->decode(ids, skip_special);
  if (!text) return ADD_FAILURE() << text.error().what, "";
  return *text;
}

void check_golden(const std::filesystem::path& tokenizer_path, const std::filesystem::path& golden) {
  const auto tokenizer = Tokenizer::read(tokenizer_path);
  ASSERT_TRUE(tokenizer) << tokenizer.error().what;
  test::check_golden(*tokenizer, golden);
}

TEST(TokenizerGolden, Demo) {
  check_golden(test::repository_file("models/demo/tokenizer.json"),
               test::repository_file("models/demo/tokenizer_golden.jsonl"));
}

class TokenizerGoldenShared : public testing::TestWithParam<std::pair<const char*, const char*>> {};
TEST_P(TokenizerGoldenShared, EncodesAndDecodes) {
  const auto folder = test::shared_file(GetParam().first, "tokenizer goldens");
  if (folder.empty()) GTEST_SKIP();
  check_golden(folder / "tokenizer.json", folder / GetParam().second);
}
INSTANTIATE_TEST_SUITE_P(Files, TokenizerGoldenShared,
                         testing::Values(std::pair("models/eval", "tokenizer_golden.jsonl"),
                                         std::pair("data/tokenizers/gpt2", "golden.jsonl"),
                                         std::pair("data/tokenizers/phi-3", "golden.jsonl"),
                                         std::pair("data/tokenizers/qwen2.5", "golden.jsonl")));

TEST(Tokenizer, Stories260kRoundTrip) {
  const auto path = test::shared_file("models/stories260K/tokenizer.json", "tokenizer of stories260K");
  if (path.empty()) GTEST_SKIP();
  const auto tokenizer = Tokenizer::read(path);
  ASSERT_TRUE(tokenizer) << tokenizer.error().what;
  EXPECT_EQ(tokenizer->vocabulary_size(), 512u);
  EXPECT_EQ(tokenizer->find("<s>"), 1);
  EXPECT_TRUE(tokenizer->is_special(1));
  const std::string text = "Once upon a time, there was a cat.\nIt said: \"Miau äöü 猫🙂\"  twice";
  const auto ids = tokenizer->encode(text, true);
  ASSERT_TRUE(ids);
  EXPECT_EQ(ids->front(), 1);
  EXPECT_EQ(*tokenizer->decode(*ids, true), text);
}

TEST(Tokenizer, MergesInOrderOfRank) {
  EXPECT_EQ(encode(byte_level_json(), "the"), (Ids{'t', 257}));
  EXPECT_EQ(encode(byte_level_json(), " the"), (Ids{258}));
  EXPECT_EQ(encode(byte_level_json(), " lll"), (Ids{' ', 259, 'l'}));  // leftmost of equal pairs
  EXPECT_EQ(encode(byte_level_json(), "x the the<|end|> t"), (Ids{'x', 258, 258, 260, 256}));
  EXPECT_EQ(encode(byte_level_json(), ""), Ids{});
  EXPECT_EQ(encode(byte_level_json(), std::string("\0\n\xC3\xA9", 4)), (Ids{0, '\n', 0xC3, 0xA9}));
}

TEST(Tokenizer, MergesAsStringsOrPairs) {
  Json json = byte_level_json();
  Json& merges = json["model"]["merges"];
  for (Json& merge : merges) merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
  merges.insert(merges.begin(), "#version: 0.2");
  EXPECT_EQ(encode(json, " the"), (Ids{258}));
}

TEST(Tokenizer, IgnoreMergesKeepsWholeTokens) {
  Json json = byte_level_json();
  json["model"]["vocab"]["xyz"] = 261;  // no merge leads there
  EXPECT_EQ(encode(json, "xyz"), (Ids{'x', 'y', 'z'}));
  json["model"]["ignore_merges"] = true;
  EXPECT_EQ(encode(json, "xyz"), (Ids{261}));
}

TEST(Tokenizer, UnknownCharacters) {
  Json json = byte_fallback_json();
  EXPECT_EQ(encode(json, "ab"), (Ids{263}));
  EXPECT_EQ(encode(json, "ab ab", true), (Ids{1, 263, 263}));
  EXPECT_EQ(encode(json, "é"), (Ids{259, 3 + 0xC3, 3 + 0xA9}));
  json["model"]["byte_fallback"] = false;
  EXPECT_EQ(encode(json, "xya"), (Ids{259, 0, 260}));
  json["model"]["fuse_unk"] = false;
  EXPECT_EQ(encode(json, "xya"), (Ids{259, 0, 0, 260}));
  json["model"]["unk_token"] = nullptr;
  EXPECT_EQ(encode(json, "xya"), (Ids{259, 260}));
  // One byte missing: the character falls back as a whole, or not at all.
  json["model"].update({{"byte_fallback", true}, {"unk_token", "<unk>"}});
  json["model"]["vocab"].erase("<0xA9>");
  EXPECT_EQ(encode(json, "éè"), (Ids{259, 3 + 0xC3, 3 + 0xA8, 0}));  // the order of the reference
}

TEST(Tokenizer, ByteFallbackDecodes) {
  const Json json = byte_fallback_json();
  EXPECT_EQ(decode(json, {1, 263, 263, 2}), "<s> ab ab</s>");
  EXPECT_EQ(decode(json, {1, 263, 263, 2}, true), "ab ab");
  EXPECT_EQ(decode(json, {259, 3 + 0xC3, 3 + 0xA9}), "é");
  EXPECT_EQ(decode(json, {3 + 0xC3, 3 + 0xA9, 3 + 0xFF}),
            "\uFFFD\uFFFD\uFFFD");  // the whole run is ill-formed
  EXPECT_EQ(decode(json, {3 + 0xC3, 260}), "\uFFFDa");
}

TEST(Tokenizer, LossyUtf8FollowsTheStandard) {
  // Unicode Standard, table 3-8 and its neighbours: U+FFFD per maximal part.
  const Json json = byte_level_json();
  EXPECT_EQ(decode(json, {0x61, 0xF1, 0x80, 0x80, 0xE1, 0x80, 0xC2, 0x62, 0x80, 0x63, 0x80, 0xBF, 0x64}),
            "a\uFFFD\uFFFD\uFFFDb\uFFFDc\uFFFD\uFFFDd");
  EXPECT_EQ(decode(json, {0xC0, 0xAF, 0xE0, 0x80, 0xBF}), "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(decode(json, {0xED, 0xA0, 0x80}), "\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(decode(json, {0xF0, 0x9F, 0x99}), "\uFFFD");
}

TEST(Tokenizer, DecodeRefusesIdsWithoutToken) {
  const auto tokenizer = parse(byte_level_json());
  ASSERT_TRUE(tokenizer);
  for (const std::int32_t id : {-1, 261, INT32_MAX}) {
    const auto text = tokenizer->decode(Ids{1, id}, false);
    ASSERT_FALSE(text);
    EXPECT_EQ(text.error().code, Errc::invalid);
    EXPECT_NE(text.error().what.find(std::to_string(id)), std::string::npos);
  }
  EXPECT_EQ(tokenizer->vocabulary_size(), 261u);
  EXPECT_EQ(tokenizer->token(257), "he");
  EXPECT_EQ(tokenizer->token(260), "<|end|>");
  EXPECT_FALSE(tokenizer->find("nothing"));
}

TEST(Tokenizer, NoDecoderJoinsWithSpaces) {
  Json json = byte_level_json();
  json["decoder"] = nullptr;
  EXPECT_EQ(decode(json, {'a', 257, 'b'}), "a he b");
}

TEST(Tokenizer, RefusesTextThatIsNotUtf8) {
  const auto tokenizer = parse(byte_level_json());
  ASSERT_TRUE(tokenizer);
  for (const std::string bad : {"\xff", "\xC0\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE2\x82", "\x80"}) {
    const auto ids = tokenizer->encode("ok" + bad, false);
    ASSERT_FALSE(ids);
    EXPECT_EQ(ids.error().what, "the text is not UTF-8 (byte 2)");
  }
}

TEST(Tokenizer, AddedTokensLongestFirstWithStrips) {
  Json json = byte_level_json();
  const auto add = [&](int id, const char* content, Json flags) {
    Json token = {{"id", id}, {"content", content}, {"normalized", false}};
    token.update(flags);
    json["added_tokens"].push_back(token);
  };
  add(300, "<a", Json::object());
  add(301, "<ab>", Json::object());
  add(302, "<l>", {{"lstrip", true}});
  add(303, "<r>", {{"rstrip", true}});
  EXPECT_EQ(encode(json, "<ab><a<ab"), (Ids{301, 300, 300, 'b'}));
  EXPECT_EQ(encode(json, "x \u3000<l> y<r> \n z"), (Ids{'x', 302, ' ', 'y', 303, 'z'}));
  EXPECT_EQ(encode(json, "<r> <l>"), (Ids{303, 302}));  // the space is taken once
}

TEST(Tokenizer, NormalizedAddedTokens) {
  Json json = byte_level_json();
  json["normalizer"] = {{"type", "NFC"}};
  json["added_tokens"].push_back({{"id", 300}, {"content", "e\u0301!"}, {"normalized", true}});
  json["added_tokens"].push_back({{"id", 301}, {"content", "e\u0301?"}, {"normalized", false}});
  EXPECT_EQ(encode(json, "\u00E9!e\u0301!"), (Ids{300, 300}));
  EXPECT_EQ(encode(json, "\u00E9?e\u0301?"), (Ids{0xC3, 0xA9, '?', 301}));
}

TEST(Tokenizer, NormalizerForms) {
  Json json = byte_fallback_json();
  json["normalizer"] = {{"type", "NFKC"}};
  EXPECT_EQ(encode(json, "\uFF41\uFF42"), (Ids{262}));  // full-width a, b
  json["normalizer"] = {{"type", "Replace"}, {"pattern", {{"Regex", "x{2,}|y"}}}, {"content", "a"}};
  EXPECT_EQ(encode(json, "xxxyb"), (Ids{260, 262}));
}

TEST(Tokenizer, MetaspaceSchemes) {
  Json json = byte_fallback_json();
  json["normalizer"] = nullptr;
  Json& metaspace = json["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "▁"}};
  json["decoder"] = metaspace;
  const std::string text = "ab</s>ab ab";
  metaspace["prepend_scheme"] = "always";
  EXPECT_EQ(encode(json, text), (Ids{263, 2, 263, 263}));
  metaspace["prepend_scheme"] = "first";
  EXPECT_EQ(encode(json, text), (Ids{263, 2, 262, 263}));
  metaspace["prepend_scheme"] = "never";
  EXPECT_EQ(encode(json, text), (Ids{262, 2, 262, 263}));
  metaspace.erase("prepend_scheme");
  metaspace["add_prefix_space"] = false;  // older files
  EXPECT_EQ(encode(json, "ab"), (Ids{262}));
  EXPECT_EQ(decode(json, {263, 263}), "ab ab");
}

TEST(Tokenizer, TemplateAddsOnBothSides) {
  Json json = byte_fallback_json();
  const Json special = {{"SpecialToken", {{"id", "<s>"}}}}, a = {{"Sequence", {{"id", "A"}}}};
  json["post_processor"]["single"] = {special, a, special};
  json["post_processor"] = {{"type", "Sequence"},
                            {"processors", {{{"type", "ByteLevel"}}, json["post_processor"]}}};
  EXPECT_EQ(encode(json, "ab", true), (Ids{1, 263, 1}));
  EXPECT_EQ(encode(json, "ab", false), (Ids{263}));
}

TEST(Tokenizer, OneTokenizerManyThreads) {
  const auto tokenizer = Tokenizer::read(test::repository_file("models/demo/tokenizer.json"));
  ASSERT_TRUE(tokenizer);
  const std::string text = "The quick brown fox, 1234 times:\n\n   naïve café 你好 🙂";
  const Ids want = *tokenizer->encode(text, true);
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i)
        wrong += *tokenizer->encode(text, true) != want || *tokenizer->decode(want, true) != text;
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

// A broken file: what is changed, and what the message must contain.
struct Broken {
  const char* name;
  void (*damage)(Json&);
  Errc code;
  const char* message;
};

Json step(const char* type) { return {{"type", type}}; }
Json split(const char* regex) {
  return {{"type", "Split"}, {"pattern", {{"Regex", regex}}}, {"behavior", "Isolated"}};
}

const Broken kBroken[] = {
    {"not_an_object", [](Json& j) { j = Json::array(); }, Errc::corrupt, "not a JSON object"},
    {"no_model", [](Json& j) { j.erase("model"); }, Errc::corrupt, "no \"model\""},
    {"other_model", [](Json& j) { j["model"]["type"] = "Uni\ngram"; }, Errc::unsupported,
     "model \"Uni\\x0Agram\""},
    {"no_vocab", [](Json& j) { j["model"].erase("vocab"); }, Errc::corrupt, "\"vocab\""},
    {"empty_vocab", [](Json& j) { j["model"]["vocab"] = Json::object(); }, Errc::corrupt, "\"vocab\""},
    {"vocab_list",
     [](Json& j) {
       j["model"]["vocab"] = {{"a", 1}, 7};
     },
     Errc::corrupt, "\"vocab\""},
    {"no_merges", [](Json& j) { j["model"].erase("merges"); }, Errc::corrupt, "\"merges\""},
    {"merge_unknown",
     [](Json& j) {
       j["model"]["merges"].push_back(Json::array({"he", "zz"}));
     },
     Errc::corrupt, "merge 4 needs \"zz\""},
    {"merge_of_unknown",
     [](Json& j) {
       j["model"]["merges"].push_back(Json::array({"he", "x"}));
     },
     Errc::corrupt, "needs \"hex\""},
    {"merge_three", [](Json& j) { j["model"]["merges"].push_back("a b c"); }, Errc::corrupt, "merge 4"},
    {"merge_number", [](Json& j) { j["model"]["merges"].push_back(7); }, Errc::corrupt, "merge 4"},
    {"id_negative", [](Json& j) { j["model"]["vocab"]["he"] = -1; }, Errc::corrupt, "id -1 of token \"he\""},
    {"id_huge", [](Json& j) { j["model"]["vocab"]["he"] = 1 << 30; }, Errc::corrupt, "id 1073741824"},
    {"id_past_int64", [](Json& j) { j["model"]["vocab"]["he"] = UINT64_MAX; }, Errc::corrupt,
     "of token \"he\""},
    {"id_text", [](Json& j) { j["model"]["vocab"]["he"] = "7"; }, Errc::corrupt, "id of token \"he\""},
    {"id_twice", [](Json& j) { j["model"]["vocab"]["he"] = 65; }, Errc::corrupt, "same id 65"},
    {"dropout", [](Json& j) { j["model"]["dropout"] = 0.1; }, Errc::unsupported, "dropout"},
    {"affix", [](Json& j) { j["model"]["end_of_word_suffix"] = "</w>"; }, Errc::unsupported,
     "end_of_word_suffix"},
    {"unk_unknown", [](Json& j) { j["model"]["unk_token"] = "<unk>"; }, Errc::corrupt, "unk_token \"<unk>\""},
    {"flag_text", [](Json& j) { j["model"]["byte_fallback"] = "yes"; }, Errc::corrupt, "byte_fallback"},
    {"truncation",
     [](Json& j) {
       j["truncation"] = {{"max_length", 8}};
     },
     Errc::unsupported, "truncation"},
    {"added_conflict", [](Json& j) { j["added_tokens"][0]["id"] = 65; }, Errc::corrupt,
     "contradicts the vocabulary"},
    {"added_twice", [](Json& j) { j["added_tokens"].push_back(j["added_tokens"][0]); }, Errc::corrupt,
     "twice"},
    {"added_id", [](Json& j) { j["added_tokens"][0]["id"] = 99999999; }, Errc::corrupt, "\"id\" must be"},
    {"added_empty", [](Json& j) { j["added_tokens"][0]["content"] = ""; }, Errc::corrupt, "no content"},
    {"single_word", [](Json& j) { j["added_tokens"][0]["single_word"] = true; }, Errc::unsupported,
     "single_word"},
    {"normalizer", [](Json& j) { j["normalizer"] = step("Lowercase"); }, Errc::unsupported,
     "normalizer \"Lowercase\""},
    {"normalizer_type", [](Json& j) { j["normalizer"] = Json::object(); }, Errc::corrupt,
     "\"type\" is missing"},
    {"pretokenizer", [](Json& j) { j["pre_tokenizer"] = step("BertPreTokenizer"); }, Errc::unsupported,
     "BertPreTok"},
    {"post", [](Json& j) { j["post_processor"] = step("BertProcessing"); }, Errc::unsupported,
     "BertProcessing"},
    {"decoder", [](Json& j) { j["decoder"] = step("WordPiece"); }, Errc::unsupported,
     "decoder \"WordPiece\""},
    {"sequence", [](Json& j) { j["pre_tokenizer"] = step("Sequence"); }, Errc::corrupt, "\"pretokenizers\""},
    {"bad_regex", [](Json& j) { j["pre_tokenizer"] = split("(a"); }, Errc::corrupt,
     "bad regular expression \"(a\""},
    {"bad_class", [](Json& j) { j["pre_tokenizer"] = split("[a"); }, Errc::corrupt, "\"[a\""},
    {"regex_feature", [](Json& j) { j["pre_tokenizer"] = split("(a)\\1"); }, Errc::unsupported,
     "the escape \"\\1\""},
    {"no_pattern", [](Json& j) { j["pre_tokenizer"] = step("Split"); }, Errc::corrupt, "\"pattern\""},
    {"fused_decoder",
     [](Json& j) {
       j["decoder"] = {{"type", "Sequence"}, {"decoders", {step("Fuse"), step("ByteFallback")}}};
     },
     Errc::unsupported, "after Fuse"},
    {"template_id",
     [](Json& j) {
       j["post_processor"] = byte_fallback_json()["post_processor"];
       j["post_processor"]["special_tokens"]["<s>"]["ids"] = {5000};
     },
     Errc::corrupt, "id 5000"},
};

class TokenizerBroken : public testing::TestWithParam<Broken> {};
TEST_P(TokenizerBroken, IsOneClearLine) {
  Json json = byte_level_json();
  GetParam().damage(json);
  const auto tokenizer = parse(json);
  ASSERT_FALSE(tokenizer);
  const std::string& what = tokenizer.error().what;
  EXPECT_EQ(tokenizer.error().code, GetParam().code) << what;
  EXPECT_NE(what.find(GetParam().message), std::string::npos) << what;
  EXPECT_TRUE(what.starts_with("t.json: ")) << what;
  EXPECT_EQ(what.find('\n'), std::string::npos) << what;
  EXPECT_LT(what.size(), 500u);
}
INSTANTIATE_TEST_SUITE_P(Files, TokenizerBroken, testing::ValuesIn(kBroken),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(TokenizerBrokenText, TruncatedAnywhere) {
  const std::string whole = byte_fallback_json().dump();
  ASSERT_TRUE(Tokenizer::parse(whole, "t.json"));
  for (std::size_t bytes = 0; bytes < whole.size(); bytes += 13) {
    const auto tokenizer = Tokenizer::parse(std::string_view(whole).substr(0, bytes), "t.json");
    ASSERT_FALSE(tokenizer) << bytes;
    EXPECT_EQ(tokenizer.error().code, Errc::corrupt);
  }
}

TEST(TokenizerBrokenText, DeepNesting) {
  std::string deep = R"({"model":{"type":"BPE","vocab":{"a":0},"merges":[]},"normalizer":)";
  const std::string open = R"({"type":"Sequence","normalizers":[)";
  for (int i = 0; i < 100000; ++i) deep += open;
  EXPECT_EQ(Tokenizer::parse(deep, "t.json").error().code, Errc::corrupt);
  EXPECT_EQ(Tokenizer::parse(std::string(1000000, '['), "t.json").error().code, Errc::corrupt);
}

TEST(TokenizerBrokenText, MissingFile) {
  EXPECT_EQ(Tokenizer::read("/nonexistent/tokenizer.json").error().code, Errc::not_found);
}

}  // namespace
}  // namespace dgq
